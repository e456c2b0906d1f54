"""Ringing: overshoot, halos and echoes beside edges."""

import torch.nn.functional as F
from torch import Tensor

from lossarium.judging.artefacts.blur import nearest_blur
from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.preparation import Prepared, gaussian, prepared, ratio, total

_REACH = 6
"""Pixels to either side in which an edge counts as near."""
_FLAT = 0.03
"""A range of 3 x 3 pixels that counts as flat."""
_BEYOND_CHANCE = 1.0
"""Standard errors that are taken off the slope. Some four neighbours count as one pixel."""
_NEIGHBOURS = 4.0
_OVERSHOOT_SHARE = 2.0
"""An overshoot's mean counts twice: it is at the edge itself, and narrower than echoes are."""


def ringing(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """How strong echoes and overshoots beside edges are, in per cent of the edges' contrast.

        100 sqrt(echo^2 + (2 overshoot)^2)

    in luminance. The error is that against the truth blurred as much as the prediction is (`nearest_blur`),
    less its own Gaussian blur of 6 pixels: blur, colour shifts and blotches are no ringing. contrast is the
    range within 6 pixels.

    echo^2 is the slope of a regression of error^2 on contrast^2 over flat places (weighted by the range of 3
    x 3 pixels of the truth), less a standard error: error beside edges that is not elsewhere. Noise and
    grids are everywhere. overshoot is the mean of how far error leads out of the range within 6 pixels, less
    how far its negative would, over the mean contrast: what is as often up as down cancels. It tells where
    nothing is flat. Around an ideal edge, the Gibbs phenomenon (9% at its peak) makes echoes of some 3%.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 at equality, and for a truth without edges.
    """
    given = prepared(prediction, truth, weight, gray=True)
    soft, error = _error(given)
    squared = _echo_squared(given, error) + (_OVERSHOOT_SHARE * _overshoot(given, soft, error)) ** 2
    return given.checked(100 * squared.sqrt())


def ringing_map(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The error beside edges at each pixel, root mean square of its neighbourhood, (N, 1, H, W)."""
    given = prepared(prediction, truth, weight, gray=True)
    _, error = _error(given)
    beside = _flatness(given) * _range(given.truth, _REACH)
    return given.checked(gaussian(error**2 * beside, 1.0).sqrt())


def _error(given: Prepared) -> tuple[Tensor, Tensor]:
    """The truth as blurred as the prediction, and the prediction's error against it, (N, 1, H, W) both."""
    soft = nearest_blur(given).blurred_truth
    error = given.prediction - soft
    coarse = max(1.0, min(6.0, min(error.shape[-2:]) / 8))
    return soft, error - gaussian(error, coarse)


def _flatness(given: Prepared) -> Tensor:
    """Which pixels are in flat places and count, in [0, 1]."""
    return given.weight / (1 + (_range(given.truth, 1) / _FLAT) ** 2) ** 2


def _echo_squared(given: Prepared, error: Tensor) -> Tensor:
    """The slope of error^2 on contrast^2 over flat places, less a standard error, (N,)."""
    flat = _flatness(given)
    energy, contrast = error**2, _range(given.truth, _REACH) ** 2
    energy, contrast = (
        one - ratio(total(flat * one), total(flat)).view(-1, 1, 1, 1) for one in (energy, contrast)
    )
    spread = total(flat * contrast**2)
    slope = ratio(total(flat * contrast * energy), spread)
    unexplained = energy - slope.view(-1, 1, 1, 1) * contrast
    chance = ratio((_NEIGHBOURS * total((flat * contrast * unexplained) ** 2)).sqrt(), spread)
    return (slope - _BEYOND_CHANCE * chance).clamp(min=0)


def _overshoot(given: Prepared, soft: Tensor, error: Tensor) -> Tensor:
    """How far the error leads out of the range around rather than its negative, over the contrast, (N,)."""
    highest, lowest = _highest(soft, _REACH), -_highest(-soft, _REACH)

    def beyond(pictures: Tensor) -> Tensor:
        return (pictures - highest).clamp(min=0) + (lowest - pictures).clamp(min=0)

    over = total(given.weight * (beyond(soft + error) - beyond(soft - error)))
    return ratio(over, total(given.weight * (highest - lowest))).clamp(min=0)


def _range(pictures: Tensor, reach: int) -> Tensor:
    return _highest(pictures, reach) + _highest(-pictures, reach)


def _highest(pictures: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(pictures, 2 * reach + 1, stride=1, padding=reach)


RINGING = Artefact(
    "ringing", "Ringing", "%", 2, ringing, ringing_map,
    seen=2.25, margin=0.1,
    description="How strong echoes and overshoots beside edges are, in per cent of the contrast.",
)  # fmt: skip
