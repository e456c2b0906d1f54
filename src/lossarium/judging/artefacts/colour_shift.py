"""Colour shift: the picture as a whole has another colour than the truth."""

from torch import Tensor

from lossarium.facesets.colour import srgb_to_lab
from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.preparation import Prepared, gaussian, prepared, ratio
from lossarium.judging.ciede2000 import lab_difference


def colour_shift(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the mean colour is from the truth's, in Delta E 2000.

    A mean forgives what averages out: noise, blur, grids, blotches. A shift of a part of the picture counts
    by its share. Values are averaged as they are encoded in sRGB, since noise would brighten a mean of light.

    Args:
        prediction: (N, 3, H, W), sRGB; or (N, 1, H, W), grey.
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 at equality.
    """
    given = prepared(prediction, truth, weight)
    weights = given.weight.sum(dim=(2, 3), keepdim=True)
    first, second = (
        ratio((one * given.weight).sum(dim=(2, 3), keepdim=True), weights) for one in _in_range(given)
    )
    return given.checked(_difference(first, second).flatten())


def colour_shift_map(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The shift around each pixel, in Delta E 2000, (N, 1, H, W): that of Gaussian means, with a standard
    deviation of a sixteenth of the shorter side."""
    given = prepared(prediction, truth, weight)
    sigma = max(1.0, min(truth.shape[-2:]) / 16)
    weights = gaussian(given.weight, sigma)
    first, second = (ratio(gaussian(one * given.weight, sigma), weights) for one in _in_range(given))
    return given.checked(_difference(first, second)[:, None] * (given.weight > 0))


def _in_range(given: Prepared) -> tuple[Tensor, Tensor]:
    return given.prediction.clamp(0, 1), given.truth.clamp(0, 1)


def _difference(first: Tensor, second: Tensor) -> Tensor:
    """The difference of colours (N, 3 or 1, H, W), (N, H, W)."""
    first, second = (srgb_to_lab(one.expand(-1, 3, -1, -1)) for one in (first, second))
    return lab_difference(first, second)


COLOUR_SHIFT = Artefact(
    "colour_shift", "Colour shift", "Delta E", 2, colour_shift, colour_shift_map,
    seen=1.25, margin=0.1,
    description="How far the mean colour is from the truth's, in Delta E 2000.",
)  # fmt: skip
