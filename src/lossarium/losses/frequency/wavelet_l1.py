"""The absolute error of two pictures' wavelet coefficients."""

from functools import partial

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import measure
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target

_MOST_LEVELS = 3


def wavelet_l1(
    input: Tensor,
    target: Tensor,
    *,
    levels: int = 0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Wavelet L1: the mean absolute error of each band of the stationary Haar transform, summed over bands.

    mean |LL_J(e)| + sum over j = 1 to J of mean |LH_j(e)| + mean |HL_j(e)| + mean |HH_j(e)|, e = input -
    target. From LL_0 = e, level j takes half the sum (L) or half the difference (H) of two pixels that are
    2^(j-1) apart, down and across, at every place where the wavelet is wholly inside the picture: nothing is
    left out between them, and no border is invented, so a shifted, mirrored or transposed pair measures the
    same. Range [0, inf), in units of the pictures; 0 at equality. A flat offset counts once, through LL_J.
    Source: Korkmaz, Tekalp, Training transformer models by wavelet losses improves quantitative and visual
    performance in single image super-resolution, 2024, section 3: L1 of the bands of a stationary transform,
    there of one level of symlets with a weight for each band. Here it is Haar's, and bands weigh the same.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        levels: J; the coarsest wavelet is 2^J pixels wide. 0 is as many as fit, three at most (three from 8
            pixels on).
        weight: (N, 1, H, W), non-negative; where it is small, the input is blended towards the target.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: levels is negative, or more than fit the pictures.

    >>> import torch
    >>> wavelet_l1(torch.full((1, 3, 32, 48), 0.5), torch.zeros(1, 3, 32, 48))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    plain = partial(_wavelet_l1_plain, levels=_count_levels(levels, input))
    return measure(plain, None, input, target, weight, how)


def _count_levels(levels: int, input: Tensor) -> int:
    height, width = input.shape[2:]
    fitting = min(height, width).bit_length() - 1
    if levels == 0:
        return min(fitting, _MOST_LEVELS)
    if not 0 < levels <= fitting or levels != int(levels):
        raise LossariumError(
            f"wavelet_l1's levels must be 0, for as many as fit up to {_MOST_LEVELS}, or a whole number up "
            f"to {fitting} for pictures of {width}x{height}, not {levels}"
        )
    return int(levels)


def _wavelet_l1_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, levels: int) -> Tensor:
    low = blend_to_target(input, target, weight) - target
    value = low.new_zeros(len(low))
    for level in range(levels):
        sums, differences = _split(low, 2**level, dim=2)
        low, across = _split(sums, 2**level, dim=3)
        for band in (across, *_split(differences, 2**level, dim=3)):
            value = value + band.abs().mean(dim=(1, 2, 3))
    return value + low.abs().mean(dim=(1, 2, 3))


def _split(planes: Tensor, apart: int, *, dim: int) -> tuple[Tensor, Tensor]:
    """Half the sums and half the differences of pixels that are so far apart."""
    places = planes.shape[dim] - apart
    # Half first: a sum of values near the largest number is no infinity.
    half = planes / 2
    first, second = half.narrow(dim, 0, places), half.narrow(dim, apart, places)
    return first + second, first - second


LOSSES = (
    LossInfo(
        name="wavelet_l1",
        function=wavelet_l1,
        family="frequency",
        formula="mean |LL_J(e)| + sum_j mean |LH_j(e)| + mean |HL_j(e)| + mean |HH_j(e)|, e = x - y",
        source="Korkmaz, Tekalp 2024, sec. 3, with Haar wavelets",
        range="[0, inf)",
        good_at="sharpness and fine texture beside brightness and colour, each at its own scale",
        bad_at="it still prefers blur to texture in the wrong place, if less than mae",
        gradient=(
            "Signs of band errors, so of constant size however near the pictures are; each pixel adds up the "
            "signs of the wavelets that cover it."
        ),
        artefacts="As of mae, with sharper edges; texture whose place is unclear fades to its mean.",
        when="In place of mae where pictures come out soft; beside a structural or perceptual loss.",
    ),
)
