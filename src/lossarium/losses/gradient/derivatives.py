"""Losses that compare how pictures change from pixel to pixel, at one scale or at several.

Differences and pyramids are linear, so each is taken once, of the error input - target.
"""

import math
from functools import partial

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, weighted_mean

_MOST_LEVELS = 5


def pixel_gradient(
    input: Tensor,
    target: Tensor,
    *,
    second_order: float = 1.0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pixel gradient difference: first and second order differences of input and target compared.

    With e = input - target and s = second_order, the mean over pixels and channels of
    (|e_x| + |e_y| + s (|e_xx| + |e_yy| + 2 |e_xy|)) / (1 + s), where e_x = (e[j+1] - e[j-1]) / 2,
    e_xx = e[j+1] - 2 e[j] + e[j-1], e_y and e_yy likewise along the height, and e_xy is both first order
    differences, one after the other. Border pixels are repeated outwards.
    Range [0, inf), in units of the pictures; 0 at equality, and also wherever the pictures differ by a
    constant: add a loss that sees brightness, such as `mae`.
    Source: Lu, Huang, TV + TV2 regularization, 2014, for the operators; the sum and its weighting (1, 1, 2
    and division by 1 + s, s = 1) are those of the gradient loss of the trainer faceswap, which puts another
    penalty in the place of the absolute value.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        second_order: What the second order differences count beside the first; 0 leaves them out.
        weight: (N, 1, H, W), non-negative; what each pixel counts. Its differences reach one pixel further.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value a picture, (N,).

    Raises:
        LossariumError: second_order is negative or infinite.

    >>> import torch
    >>> stripes = (torch.arange(8) % 4 < 2).float().expand(1, 3, 8, 8)
    >>> pixel_gradient(stripes, torch.zeros(1, 3, 8, 8))
    tensor(0.5625)
    >>> pixel_gradient(stripes + 0.5, stripes)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check_second_order(second_order)
    plain = partial(_pixel_gradient_plain, second_order=second_order)
    return measure(plain, partial(_pixel_gradient_kernel, second_order), input, target, weight, how)


def _pixel_gradient_kernel(second_order: float) -> LossKernel:
    from lossarium.losses.gradient.derivatives_cpu import pixel_gradient

    return partial(pixel_gradient, second_order=second_order)


def _pixel_gradient_plain(
    input: Tensor, target: Tensor, weight: Tensor | None, *, second_order: float
) -> Tensor:
    return weighted_mean(_gradient_magnitude(input - target, second_order), weight)


def _pixel_gradient_map(input: Tensor, target: Tensor, *, second_order: float) -> Tensor:
    _check_second_order(second_order)
    return _gradient_magnitude(input - target, second_order).mean(dim=1, keepdim=True)


def _check_second_order(second_order: float) -> None:
    if not 0 <= second_order < math.inf:
        raise LossariumError(
            f"pixel_gradient's second_order must be 0 or a positive number, not {second_order}"
        )


def _gradient_magnitude(errors: Tensor, second_order: float) -> Tensor:
    """Both orders' absolute differences, weighted, (N, C, H, W)."""
    along_width, along_height = _first_difference(errors, -1), _first_difference(errors, -2)
    first = along_width.abs() + along_height.abs()
    second = (
        _second_difference(errors, -1).abs()
        + _second_difference(errors, -2).abs()
        + 2 * _first_difference(along_width, -2).abs()
    )
    return (first + second_order * second) / (1 + second_order)


def _first_difference(planes: Tensor, dim: int) -> Tensor:
    length = planes.shape[dim]
    padded = _repeat_border(planes, 1, dim)
    return (padded.narrow(dim, 2, length) - padded.narrow(dim, 0, length)) / 2


def _second_difference(planes: Tensor, dim: int) -> Tensor:
    length = planes.shape[dim]
    padded = _repeat_border(planes, 1, dim)
    return padded.narrow(dim, 2, length) - 2 * planes + padded.narrow(dim, 0, length)


def laplacian(
    input: Tensor,
    target: Tensor,
    *,
    levels: int = 0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Laplacian pyramid loss: the mean absolute error of each scale of the pictures, summed over scales.

    sum over j of mean |L_j(input) - L_j(target)|, where L_0, L_1, ... are the band-pass levels of the
    Laplacian pyramid, each half as wide and high as the one before it, and the last is the low-pass rest.
    Range [0, inf), in units of the pictures; 0 at equality. A flat offset counts once, through the rest.
    Source: Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the latent space of generative networks, 2018,
    section 2: sum over j of 2^(2j) |L_j(x) - L_j(y)|_1. Level j has 4^-j as many pixels, so that this is our
    sum of means times the number of pixels and channels. Pyramid: Burt, Adelson, The Laplacian pyramid as a
    compact image code, 1983. Their kernel (1, 4, 6, 4, 1) / 16, centred on every second pixel from border to
    border, fits odd sides; on even sides (1, 3, 3, 1) / 8, centred between the pixels of every pair, takes
    its place, so that a mirrored picture always has the mirrored pyramid. Borders are repeated outwards.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        levels: How many band-pass levels lie above the rest; each needs a shorter side of at least 2 pixels.
            0 is as many as fit, five at most (five from 17 pixels on).
        weight: (N, 1, H, W), non-negative; the input is blended to the target where it is small.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value a picture, (N,).

    Raises:
        LossariumError: levels is negative, or more than fit the pictures.

    >>> import torch
    >>> laplacian(torch.full((1, 3, 32, 48), 0.5), torch.zeros(1, 3, 32, 48))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    count = _count_levels(levels, input)
    plain = partial(_laplacian_plain, levels=count)
    return measure(plain, partial(_laplacian_kernel, count), input, target, weight, how)


def _laplacian_kernel(levels: int) -> LossKernel:
    from lossarium.losses.gradient.derivatives_cpu import laplacian

    return partial(laplacian, levels=levels)


def _count_levels(levels: int, input: Tensor) -> int:
    height, width = input.shape[2:]
    # Sides halve rounding up: the last of n levels has 2 pixels or more if the side is above 2^(n - 1).
    fitting = max(min(height, width) - 1, 0).bit_length()
    if levels == 0:
        return min(fitting, _MOST_LEVELS)
    if not 0 < levels <= fitting or levels != int(levels):
        raise LossariumError(
            f"laplacian's levels must be 0, for as many as fit up to {_MOST_LEVELS}, or a whole number up to "
            f"{fitting} for pictures of {width}x{height}, not {levels}"
        )
    return int(levels)


def _laplacian_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, levels: int) -> Tensor:
    rest = blend_to_target(input, target, weight) - target
    value = rest.new_zeros(len(rest))
    for _ in range(levels):
        height, width = rest.shape[2:]
        coarse = _reduced(_reduced(rest).mT).mT
        expanded = _expanded(_expanded(coarse, width).mT, height).mT
        value = value + (rest - expanded).abs().mean(dim=(1, 2, 3))
        rest = coarse
    return value + rest.abs().mean(dim=(1, 2, 3))


def _reduced(planes: Tensor) -> Tensor:
    """Half as many samples along the last side, rounded up."""
    even = planes.shape[-1] % 2 == 0
    kernel = planes.new_tensor((1, 3, 3, 1) if even else (1, 4, 6, 4, 1))
    padded = _repeat_border(planes, 1 if even else 2, -1)
    return padded.unfold(-1, len(kernel), 2) @ (kernel / kernel.sum())


def _expanded(planes: Tensor, length: int) -> Tensor:
    """From `_reduced` back to `length` samples along the last side, by the same kernel.

    Two samples come from each coarse one and its neighbours: the kernel's two phases.
    """
    phases = planes.new_tensor(((1, 3, 0), (0, 3, 1)) if length % 2 == 0 else ((1, 6, 1), (0, 4, 4)))
    neighbours = _repeat_border(planes, 1, -1).unfold(-1, 3, 1)
    samples = neighbours @ (phases / phases.sum(dim=1, keepdim=True)).mT
    return samples.flatten(-2)[..., :length]


def _repeat_border(planes: Tensor, amount: int, dim: int) -> Tensor:
    # Not F.pad(mode="replicate"): its backward sums in no fixed order on a GPU.
    first, last = planes.narrow(dim, 0, 1), planes.narrow(dim, planes.shape[dim] - 1, 1)
    return torch.cat((*[first] * amount, planes, *[last] * amount), dim=dim)


LOSSES = (
    LossInfo(
        name="pixel_gradient",
        function=pixel_gradient,
        family="frequency",
        formula="mean(|e_x| + |e_y| + s (|e_xx| + |e_yy| + 2 |e_xy|)) / (1 + s), e = x - y, s = second_order",
        source="Lu and Huang 2014 (operators); faceswap's gradient loss (weighting)",
        map=_pixel_gradient_map,
        pixel_map=True,
        good_at="sharpness, fine texture, noise, edges out of place",
        bad_at="brightness and colour: blind to a flat offset",
        gradient="Its size depends on the signs of the error's differences alone, not on their size; it is 0 "
        "where the error is flat. It looks no further than two pixels.",
        artefacts="Alone it leaves the brightness and colour of the whole picture to chance, and flat "
        "regions drift while their edges are sharp.",
        when="As a small term beside a pixel or structure loss whose results are too soft; never alone.",
    ),
    LossInfo(
        name="laplacian",
        function=laplacian,
        family="frequency",
        formula="sum_j mean(|L_j(x) - L_j(y)|), L_j the levels of the Laplacian pyramid and its rest",
        source="Bojanowski et al. 2018, sec. 2; Burt and Adelson 1983",
        pixel_map=False,
        good_at="errors of every size, from texture to shading",
        bad_at="texture out of place: it is still compared pixel by pixel",
        gradient="A sum of signs, one a scale: it does not fade as the error shrinks. The coarse levels pull "
        "whole regions at once.",
        artefacts="As with mae, texture whose place cannot be predicted is averaged away and comes out soft.",
        when="In the place of mae, where broad errors of shading and fine detail should count alike.",
    ),
)
