"""Blur: detail of the truth is lost."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.preparation import Prepared, gaussian, prepared, ratio, total

# Standard deviations, in pixels, of the Gaussians that are tried.
_TRIED = (0.0, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.5, 8.0)
# So many variances of what chance gains have to be exceeded. Neighbouring pixels are not independent: some 16
# of them count as one.
_BEYOND_CHANCE = 9.0 * 16


def blur(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The standard deviation, in pixels, of the Gaussian that takes the truth nearest to the prediction.

        argmin_s sum weight (detail(prediction) - G_s * detail(truth))^2

    over s from 0 to 8, in luminance, where detail(x) = x - G_h * x, with h the smaller of 8 pixels and an
    eighth of the shorter side, so that colour shift and blotches do not count. Noise, grids and ringing are
    unlike any blurred truth and do not count either. A gain that chance could make is taken off.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 if the prediction is as sharp as the truth or sharper, or the truth has no detail.
    """
    given = prepared(prediction, truth, weight, gray=True)
    return given.checked(nearest_blur(given).sigma)


@dataclass(frozen=True)
class NearestBlur:
    """The Gaussian blur of the truth that comes nearest to the prediction."""

    sigma: Tensor
    """(N,), its standard deviation in pixels, less what chance gains."""
    blurred_truth: Tensor
    """(N, 1, H, W), in luminance."""


def nearest_blur(given: Prepared) -> NearestBlur:
    """The Gaussian blur of the truth that comes nearest to the prediction, in luminance."""
    weight = given.weight
    detail, sharp = _details(given)
    left = total(weight * (detail - sharp) ** 2)
    without_blur = best = left
    variance = torch.zeros_like(left)
    nearest = softer = sharp
    for previous, sigma in pairwise(_TRIED):
        # Between two Gaussians, mix them: the variance of a mixture of kernels is the mixture of theirs.
        sharper, softer = softer, gaussian(sharp, sigma)
        lost = softer - sharper
        share = ratio(total(weight * (detail - sharper) * lost), total(weight * lost**2)).clamp(0, 1)
        between = sharper + share.view(-1, 1, 1, 1) * lost
        left = total(weight * (detail - between) ** 2)
        better = left < best
        variance = torch.where(better, (1 - share) * previous**2 + share * sigma**2, variance)
        nearest = torch.where(better.view(-1, 1, 1, 1), between, nearest)
        best = torch.minimum(left, best)
    chance = _BEYOND_CHANCE * ratio(best, total(weight))
    kept = ratio(without_blur - best - chance, without_blur - best).clamp(0, 1)
    return NearestBlur((variance * kept).sqrt(), given.truth + (nearest - sharp))


def blur_map(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """How much detail is lost at each pixel, (N, 1, H, W): the root mean square of the truth's detail less
    that of the prediction's, in its neighbourhood, at least 0."""
    given = prepared(prediction, truth, weight, gray=True)
    there, wanted = (gaussian(one**2, 2.0).sqrt() for one in _details(given))
    return given.checked((wanted - there).clamp(min=0) * given.weight)


def _details(given: Prepared) -> tuple[Tensor, Tensor]:
    """The details of the prediction and of the truth, (N, 1, H, W)."""
    coarse = max(1.0, min(8.0, min(given.truth.shape[-2:]) / 8))
    first, second = (one - gaussian(one, coarse) for one in (given.prediction, given.truth))
    return first, second


BLUR = Artefact(
    "blur", "Blur", "px", 2, blur, blur_map,
    seen=0.5, margin=0.05,
    description="The standard deviation of the Gaussian blur that makes of the truth what comes nearest.",
)  # fmt: skip
