"""Sharpness: the energy of detail, input over target, octave by octave."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.judging.declaration import Judge
from lossarium.losses.reduction import as_pictures, blend_to_target, weighted_mean

MOST_BANDS = 4
"""Details of up to about 32 pixels."""
_SMALLEST_SIDE = 16
# The binomial kernel of Burt and Adelson's pyramid.
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
# The energy of rounding to 8 bits: detail below it does not count.
_ROUNDING = (1 / 255) ** 2 / 12


def sharpness(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far the energy of detail is from the truth's: the mean over octaves of |log2(ratio)|. 0 at
    equality.

    1 means that details have half or twice their energy. Blur has too little of it, noise and ringing too
    much: `sharpness_bands` tells which.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 for a picture whose weight is 0 everywhere.
    """
    return sharpness_bands(prediction, truth, weight).log2().abs().mean(dim=1)


def sharpness_bands(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The energy of detail over the truth's by octave, finest first, (N, bands); 1 is equality.

    The bands are those of a Laplacian pyramid (Burt and Adelson, The Laplacian Pyramid as a Compact Image
    Code, 1983): a picture less its binomial blur, then the same of the blurred picture at half the size.
    There are four, fewer in pictures whose shorter side is below 128 px, and one in those below 32 px. Energy
    is the mean square, plus that of rounding to 8 bits, so that flat pictures have a ratio of 1. Arguments as
    for `sharpness`.
    """
    prediction, truth, weight, _ = as_pictures(prediction, truth, weight, "none")
    prediction = blend_to_target(prediction, truth, weight)
    ratios = []
    while True:
        soft_prediction, soft_truth = _blurred(prediction), _blurred(truth)
        energy = weighted_mean((prediction - soft_prediction) ** 2, weight) + _ROUNDING
        ratios.append(energy / (weighted_mean((truth - soft_truth) ** 2, weight) + _ROUNDING))
        if len(ratios) == MOST_BANDS or min(truth.shape[-2:]) < 2 * _SMALLEST_SIDE:
            return torch.stack(ratios, dim=1)
        prediction, truth = soft_prediction[..., ::2, ::2], soft_truth[..., ::2, ::2]
        weight = None if weight is None else F.avg_pool2d(weight, 2, ceil_mode=True)


def _blurred(pictures: Tensor) -> Tensor:
    """The binomial blur of pictures whose borders are repeated."""
    n, channels, height, width = pictures.shape
    kernel = pictures.new_tensor(_BINOMIAL)
    planes = F.pad(pictures.reshape(n * channels, 1, height, width), (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(planes, kernel.view(1, 1, 5, 1)), kernel.view(1, 1, 1, 5)).view_as(pictures)


SHARPNESS = Judge(
    "sharpness", "Sharpness", "octaves", False, 2, sharpness, frozenset(),
    "How far the energy of detail is from the truth's: the mean over bands of |log2(input / target)|.",
    margin=0.05,
)  # fmt: skip
