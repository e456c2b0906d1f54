"""Judges: measures that are taken on held-out frames, in units that people know."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossarium import losses
from lossarium.losses.spec import parse

# An error below this is a perfect picture: 100 dB, the usual cap.
_SMALLEST_MSE = 1e-10


@dataclass(frozen=True)
class Judge:
    """A measure of (prediction, truth), one value a picture."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    digits: int
    """Decimals worth showing."""
    measure: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """(N, 3, H, W) twice and a weight (N, 1, H, W) or None, to (N,)."""
    home_of: frozenset[str]
    """Losses that minimise this measure or its like: it has no vote on trials that they trained."""
    description: str

    def is_home_of(self, spec: str) -> bool:
        """Whether a loss with this spec trained on this judge."""
        return any(term.name in self.home_of for term in parse(spec).terms)


def _psnr(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    error = losses.mse(prediction, truth, weight=weight, reduction="none")
    return -10 * torch.log10(error.clamp(min=_SMALLEST_MSE))


def _mae(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mae(prediction, truth, weight=weight, reduction="none")


def _ssim(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return 1 - losses.ssim(prediction, truth, weight=weight, reduction="none")


def _lpips(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    return losses.lpips(prediction, truth, weight=weight, reduction="none")


# Losses by what they minimise: squared errors, absolute ones, or squares of the small and sizes of the large.
_SQUARED = frozenset({"mse", "rmse", "sse"})
_ABSOLUTE = frozenset({"mae", "charbonnier", "quantile", "mape", "mase", "imae", "laplacian", "mix"})
_BETWEEN = frozenset({"smooth_l1", "huber", "logcosh", "general"})

JUDGES = (
    Judge(
        "psnr", "PSNR", "dB", True, 2, _psnr, _SQUARED | _BETWEEN,
        "Peak signal-to-noise ratio: the mean squared error on a logarithmic scale.",
    ),
    Judge(
        "mae", "MAE", "", False, 3, _mae, _ABSOLUTE | _BETWEEN,
        "Mean absolute error of pixels in [0, 1].",
    ),
    Judge(
        "ssim", "SSIM", "", True, 3, _ssim, frozenset({"ssim", "ms_ssim", "uqi", "mix"}),
        "Structural similarity in windows of 11 pixels; 1 is equality.",
    ),
    Judge(
        "lpips", "LPIPS", "", False, 3, _lpips, frozenset({"lpips"}),
        "Learned perceptual distance in the features of AlexNet; 0 is equality.",
    ),
)  # fmt: skip


def judge(name: str) -> Judge:
    """The judge of this name; KeyError where there is none."""
    return {judge.name: judge for judge in JUDGES}[name]
