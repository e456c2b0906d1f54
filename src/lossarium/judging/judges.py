"""Judges: measures of held-out frames, in familiar units.

This module has the built-in judges. Users' own judges are functions, see `own_judges` and docs/own-judges.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.judging.artefacts.built_in import ARTEFACTS
from lossarium.judging.ciede2000 import CIEDE2000
from lossarium.judging.declaration import Judge
from lossarium.judging.own_judges import own_judge, register, registered
from lossarium.judging.sharpness import SHARPNESS
from lossarium.losses.spec import split
from lossarium.own_code import is_own
from lossarium.text.suggestions import nearest
from lossarium.training.configuration import Recipe

__all__ = ["DEFAULT_JUDGES", "JUDGES", "Judge", "chosen", "judge", "names", "register"]

# PSNR is capped at 100 dB, as usual; without a cap it is infinite for equal pictures.
_SMALLEST_MSE = 1e-10


def _psnr(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    error = losses.mse(prediction, truth, weight=weight, reduction="none")
    return -10 * torch.log10(error.clamp(min=_SMALLEST_MSE))


def _mae(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mae(prediction, truth, weight=weight, reduction="none")


def _ssim(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return 1 - losses.ssim(prediction, truth, weight=weight, reduction="none")


def _lpips(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.lpips(prediction, truth, weight=weight, reduction="none")


def _lpips_vgg(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.lpips(prediction, truth, net="vgg", weight=weight, reduction="none")


def _ms_ssim(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return 1 - losses.ms_ssim(prediction, truth, weight=weight, reduction="none")


def _gmsd(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.gmsd(prediction, truth, weight=weight, reduction="none")


def _mdsi(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mdsi(prediction, truth, weight=weight, reduction="none")


def _haarpsi(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return 1 - losses.haarpsi(prediction, truth, weight=weight, reduction="none")


def _nlpd(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.nlpd(prediction, truth, weight=weight, reduction="none")


def _wavelet_l1(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.wavelet_l1(prediction, truth, weight=weight, reduction="none")


def _flip(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.flip(prediction, truth, weight=weight, reduction="none")


# Losses that are one measure in several forms.
_STRUCTURE = frozenset({"ssim", "ms_ssim", "uqi", "mix"})
_GRADIENTS = frozenset({"gmsd", "ms_gmsd", "mdsi"})

JUDGES = (
    Judge(
        "psnr", "PSNR", "dB", True, 2, _psnr, frozenset(),
        "Peak signal-to-noise ratio: the mean squared error on a logarithmic scale.",
        margin=0.1,
    ),
    Judge(
        "mae", "MAE", "", False, 3, _mae, frozenset(),
        "Mean absolute error of pixels in [0, 1].",
        margin=0.001,
    ),
    Judge(
        "ssim", "SSIM", "", True, 3, _ssim, _STRUCTURE,
        "Structural similarity in windows of 11 pixels; 1 is equality.",
        margin=0.005,
    ),
    Judge(
        "lpips", "LPIPS", "", False, 3, _lpips, frozenset(),
        "Learned perceptual distance in the features of AlexNet; 0 is equality.",
        margin=0.005,
    ),
    Judge(
        "lpips_vgg", "LPIPS (VGG)", "", False, 3, _lpips_vgg, frozenset({"lpips"}),
        "Learned perceptual distance in the features of VGG-16, whose weights LOSSARIUM_WEIGHTS names; 0 is "
        "equality.",
        margin=0.005,
    ),
    Judge(
        "ms_ssim", "MS-SSIM", "", True, 3, _ms_ssim, _STRUCTURE,
        "Structural similarity at up to five scales; 1 is equality.",
        margin=0.005,
    ),
    Judge(
        "gmsd", "GMSD", "", False, 4, _gmsd, _GRADIENTS,
        "Deviation of the similarity of gradients: uneven damage to edges; 0 is equality.",
        margin=0.002,
    ),
    Judge(
        "mdsi", "MDSI", "", False, 3, _mdsi, _GRADIENTS,
        "Deviation of the similarity of gradients and colours; 0 is equality.",
        margin=0.005,
    ),
    Judge(
        "haarpsi", "HaarPSI", "", True, 3, _haarpsi, frozenset({"haarpsi"}),
        "Similarity of Haar wavelets, mostly edges and texture of 4 to 8 pixels; 1 is equality.",
        margin=0.01,
    ),
    Judge(
        "nlpd", "NLPD", "", False, 3, _nlpd, frozenset({"nlpd"}),
        "Errors of contrast from fine to coarse, masked by the contrast around them; 0 is equality.",
        margin=0.01,
    ),
    Judge(
        "wavelet_l1", "Wavelet L1", "", False, 3, _wavelet_l1, frozenset({"wavelet_l1", "laplacian"}),
        "Absolute errors of Haar wavelets of 2, 4 and 8 pixels, each band alone; 0 is equality.",
        margin=0.002,
    ),
    Judge(
        "flip", "FLIP", "", False, 3, _flip, frozenset({"flip"}),
        "How visible the difference is when the pictures alternate on a screen; 0 is equality.",
        margin=0.005,
    ),
    CIEDE2000,
    SHARPNESS,
    *(artefact.judge for artefact in ARTEFACTS),
)  # fmt: skip
DEFAULT_JUDGES = tuple(judge for judge in JUDGES if judge.name in Recipe.judges)


def names() -> tuple[str, ...]:
    """The names of all built-in and registered judges."""
    return (*(judge.name for judge in JUDGES), *(judge.name for judge in registered()))


def judge(name: str) -> Judge:
    """The judge of this name.

    Args:
        name: One of `names()`, or `package.module:name` for a user's own.

    Raises:
        LossariumError: no judge has this name, or a user's own breaks the contract.
    """
    if is_own(name):
        return own_judge(name)
    for one in (*JUDGES, *registered()):
        if one.name == name:
            return one
    raise LossariumError(
        f'there is no judge "{name}"; {nearest(name, names())} (your own is named package.module:name)'
    )


def chosen(text: str | None, steering: str | None) -> tuple[tuple[str, ...], str]:
    """The judges that score, and the one of them that steers plateau schedules, the best checkpoint and
    convergence.

    Args:
        text: Names separated by commas; None for the default judges and the steering one.
        steering: The name of the judge that steers; None for a recipe's default, or the first judge if
            that one does not score.

    Returns:
        The names of the judges that score, and the name of the one that steers.

    Raises:
        LossariumError: a judge does not exist or is named twice, or the steering one does not score.

    >>> chosen("psnr, lpips", None)
    (('psnr', 'lpips'), 'psnr')
    """
    if text is None:
        defaults = Recipe.judges
        scoring = defaults if steering in (None, *defaults) else (*defaults, str(steering))
    else:
        scoring = tuple(split(text))
    for place, name in enumerate(scoring):
        judge(name)
        if name in scoring[:place]:
            raise LossariumError(f"--judges names {name} twice")
    if steering is None:
        return scoring, Recipe.judge if Recipe.judge in scoring else scoring[0]
    if steering not in scoring:
        judge(steering)
        raise LossariumError(f"--judge {steering} has to score to steer; add it to --judges")
    return scoring, steering


def judges_of(names: Sequence[str]) -> tuple[Judge, ...]:
    """The judges of these names.

    Raises:
        LossariumError: as `judge`.
    """
    return tuple(map(judge, names))
