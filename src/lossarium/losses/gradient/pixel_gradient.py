"""The loss on differences between neighbouring pixels."""

import math
from functools import partial

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Reduction, as_pictures, weighted_mean


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
        second_order: The weight of second order differences relative to the first; 0 leaves them out.
        weight: (N, 1, H, W), non-negative; the weight of each pixel. Its differences reach one pixel further.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

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
    from lossarium.losses.gradient.pixel_gradient_cpu import pixel_gradient

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
    padded = repeat_border(planes, 1, dim)
    return (padded.narrow(dim, 2, length) - padded.narrow(dim, 0, length)) / 2


def _second_difference(planes: Tensor, dim: int) -> Tensor:
    length = planes.shape[dim]
    padded = repeat_border(planes, 1, dim)
    return padded.narrow(dim, 2, length) - 2 * planes + padded.narrow(dim, 0, length)


def repeat_border(planes: Tensor, amount: int, dim: int) -> Tensor:
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
        gradient="It depends on the signs of the error's differences, not on their size, and is 0 where the "
        "error is flat. It reaches two pixels at most.",
        artefacts="Alone it leaves the brightness and colour of the whole picture to chance: flat regions "
        "drift while their edges are sharp.",
        when="As a small term beside a pixel or structure loss whose results are too soft; never alone.",
    ),
)
