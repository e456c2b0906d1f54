"""Shared by all losses: checks pictures, weights and averages maps, reduces over the batch."""

from typing import Literal, get_args

import torch
from torch import Tensor

from lossarium.compute.weighting import SMALLEST_WEIGHT, luminance_shares
from lossarium.errors import LossariumError
from lossarium.losses.value_range import warn_of_other_range

Reduction = Literal["mean", "sum", "none"]
"""How a loss turns the values of the pictures into one."""
Color = Literal["rgb", "gray"]
"""What a loss measures: every channel, or the luminance alone."""
How = Reduction | torch.Size
"""A reduction, or, for pictures that are not (N, C, H, W), the shape of the values of "none"."""

_COLORS: tuple[Color, ...] = get_args(Color)
_MOST_CHANNELS = 4
"""The most channels of single pictures and video: with more, the dimensions are probably in another order."""


def as_pictures(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: Reduction
) -> tuple[Tensor, Tensor, Tensor | None, How]:
    """Check pictures and bring them to the shape and type that losses work on.

    A picture (C, H, W) becomes a batch of one, video (N, T, C, H, W) a batch of N T pictures; both have at
    most four channels. Half precision is converted to float32, since squares and means lose too much in it.

    Returns:
        input and target, (N, C, H, W); weight, (N, 1, H, W), or None; and how to reduce the pictures' values.

    Raises:
        LossariumError: an argument is not a tensor of floats, the shapes do not match, the batch is empty, or
            (on the CPU, where the check costs little) the weight is negative or NaN somewhere.
    """
    how: How = reduction
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        raise LossariumError(
            f"input and target must be tensors, not {type(input).__name__} and {type(target).__name__}"
        )
    shape = input.shape
    if len(shape) != 4 or shape != target.shape:
        input, target, weight, how = _as_batch(input, target, weight, reduction)
        shape = input.shape
    if not (input.dtype.is_floating_point and target.dtype.is_floating_point):
        raise LossariumError(
            f"input and target must be floats, with [0, 1] from black to white, not {input.dtype} "
            f"and {target.dtype}; divide bytes by 255"
        )
    if 0 in shape:
        raise LossariumError(f"the batch is empty: the pictures have the shape {tuple(shape)}")
    if weight is not None:
        n, _, height, width = shape
        if weight.shape != (n, 1, height, width):
            raise LossariumError(
                f"weight must have the shape {(n, 1, height, width)} beside these pictures, "
                f"not {tuple(weight.shape)}"
            )
        if weight.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(weight.amin() >= 0):
            raise LossariumError("weight is the weight of each pixel and must not be negative or NaN")
    warn_of_other_range(target)
    if input.dtype is target.dtype is torch.float32 and (weight is None or weight.dtype is torch.float32):
        return input, target, weight, how
    widest = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    widened = None if weight is None else weight.to(widest)
    return input.to(widest), target.to(widest), widened, how


def _as_batch(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: Reduction
) -> tuple[Tensor, Tensor, Tensor | None, How]:
    """A single picture or video as a batch."""
    shape = input.shape
    if shape != target.shape or len(shape) not in (3, 5):
        raise LossariumError(
            "input and target must both have the shape (N, C, H, W), or (C, H, W), or (N, T, C, H, W) for "
            f"video, not {tuple(shape)} and {tuple(target.shape)}"
        )
    channels = shape[-3]
    if channels > _MOST_CHANNELS:
        kind, remedy = (
            ("a single picture, (C, H, W)", "a batch of grey pictures is (N, 1, H, W)")
            if len(shape) == 3
            else ("video, (N, T, C, H, W)", "of (N, C, T, H, W) give movedim(2, 1)")
        )
        raise LossariumError(
            f"{tuple(shape)} would be {kind}, of {channels} channels, and at most {_MOST_CHANNELS} are taken "
            f"there; {remedy}"
        )
    if weight is not None:
        wanted = (*shape[:-3], 1, *shape[-2:])
        if weight.shape != wanted:
            raise LossariumError(
                f"weight must have the shape {wanted} beside these pictures, not {tuple(weight.shape)}"
            )
        weight = weight.reshape(-1, 1, *shape[-2:])
    how: How = shape[:-3] if reduction == "none" else reduction
    return input.reshape(-1, *shape[-3:]), target.reshape(-1, *shape[-3:]), weight, how


def check_color(color: Color) -> None:
    """Refuse a `color` that is neither "rgb" nor "gray".

    Raises:
        LossariumError: it is neither.
    """
    if color not in _COLORS:
        raise LossariumError(f'color must be "rgb" or "gray", not {color!r}')


def in_color(pictures: Tensor, color: Color) -> Tensor:
    """The channels to measure: all of them, or their luminance, (N, 1, H, W).

    Luminance is that of BT.601, 0.299 R + 0.587 G + 0.114 B; for pictures without exactly three channels, it
    is the mean of the channels.

    Raises:
        LossariumError: `color` is neither "rgb" nor "gray".
    """
    check_color(color)
    if color == "rgb":
        return pictures
    if pictures.shape[1] != 3:
        return pictures.mean(dim=1, keepdim=True)
    return (pictures * pictures.new_tensor(luminance_shares(3)).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def weighted_mean(map: Tensor, weight: Tensor | None) -> Tensor:
    """Average a (N, C, H, W) map over each picture: sum(weight * map) / sum(weight), shape (N,).

    A picture whose weight is 0 everywhere has the value 0 (and no gradient), not NaN.
    """
    per_pixel = map.mean(dim=1)
    if weight is None:
        return per_pixel.mean(dim=(1, 2))
    region = weight[:, 0]
    total = region.sum(dim=(1, 2))
    empty = total <= SMALLEST_WEIGHT
    mean = (region * per_pixel).sum(dim=(1, 2)) / torch.where(empty, torch.ones_like(total), total)
    # A product instead of torch.where, which would hide NaN.
    return mean * ~empty


def reduce(per_picture: Tensor, how: How) -> Tensor:
    """Average or add up the pictures' values, (N,), or leave them: (N,), or in the shape `how`.

    Raises:
        LossariumError: `how` is not a reduction.
    """
    if how == "mean":
        return per_picture.mean()
    if how == "sum":
        return per_picture.sum()
    if how == "none":
        return per_picture
    if isinstance(how, torch.Size):
        return per_picture.reshape(how)
    raise LossariumError(f'reduction must be "mean", "sum" or "none", not {how!r}')


def blend_to_target(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Apply a weight to a measure without a map: blend the input towards the target.

    The share of the target is 1 - weight / max(weight), picture by picture: where the weight is 0 the two
    pictures are equal, so the error and the gradient there are exactly 0. (Multiplying both by a mask would
    make new edges.)
    """
    if weight is None:
        return input
    peak = weight.amax(dim=(1, 2, 3), keepdim=True)
    share = weight / torch.where(peak <= SMALLEST_WEIGHT, torch.ones_like(peak), peak)
    return torch.lerp(target, input, share)
