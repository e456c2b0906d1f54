"""What every loss shares: checking its pictures, weighting its map, averaging it."""

from typing import Literal

import torch
from torch import Tensor

from lossarium.compute.weighting import SMALLEST_WEIGHT, luminance_shares
from lossarium.errors import LossariumError

Reduction = Literal["mean", "none"]

_COLORS = ("rgb", "gray")


def as_pictures(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Check the shapes and widen half precision, in which squares and means lose too much, to float32.

    Raises:
        LossariumError: the pictures are not floats, the shapes are not (N, C, H, W) twice and (N, 1, H, W),
            or (on the CPU, where looking costs little) the weight is negative or not a number somewhere.
    """
    if input.ndim != 4 or input.shape != target.shape:
        raise LossariumError(
            f"input and target must both have the shape (N, C, H, W), not {tuple(input.shape)} "
            f"and {tuple(target.shape)}"
        )
    if not (input.dtype.is_floating_point and target.dtype.is_floating_point):
        raise LossariumError(
            f"input and target must be floats, with [0, 1] from black to white, not {input.dtype} "
            f"and {target.dtype}; divide bytes by 255"
        )
    if weight is not None:
        n, _, height, width = input.shape
        if weight.shape != (n, 1, height, width):
            raise LossariumError(
                f"weight must have the shape {(n, 1, height, width)} beside these pictures, "
                f"not {tuple(weight.shape)}"
            )
        if weight.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(weight.amin() >= 0):
            raise LossariumError("weight must not be negative, it is what each pixel counts")
    if input.dtype is target.dtype is torch.float32 and (weight is None or weight.dtype is torch.float32):
        return input, target, weight
    widest = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    widened = None if weight is None else weight.to(widest)
    return input.to(widest), target.to(widest), widened


def check_color(color: str) -> None:
    """Refuse a `color` that is neither "rgb" nor "gray".

    Raises:
        LossariumError: it is neither.
    """
    if color not in _COLORS:
        raise LossariumError(f'color must be "rgb" or "gray", not {color!r}')


def in_color(pictures: Tensor, color: str) -> Tensor:
    """The channels that a measure looks at: all of them, or their luminance, (N, 1, H, W).

    Luminance is that of BT.601, 0.299 R + 0.587 G + 0.114 B; of pictures that have not three channels, the
    mean of their channels.

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

    A picture whose weight is 0 everywhere counts 0 (and gets no gradient), not NaN.
    """
    per_pixel = map.mean(dim=1)
    if weight is None:
        return per_pixel.mean(dim=(1, 2))
    region = weight[:, 0]
    total = region.sum(dim=(1, 2))
    empty = total <= SMALLEST_WEIGHT
    mean = (region * per_pixel).sum(dim=(1, 2)) / torch.where(empty, torch.ones_like(total), total)
    return torch.where(empty, torch.zeros_like(mean), mean)


def reduce(per_picture: Tensor, reduction: Reduction) -> Tensor:
    """Average (N,) values over the batch, or leave them.

    Raises:
        LossariumError: `reduction` is neither "mean" nor "none".
    """
    if reduction == "mean":
        return per_picture.mean()
    if reduction == "none":
        return per_picture
    raise LossariumError(f'reduction must be "mean" or "none", not {reduction!r}')


def blend_to_target(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Carry a weight to a measure that has no map.

    The input is blended to the target in proportion to 1 - weight / max(weight), picture by picture: where
    the weight is 0 the two pictures are equal, so the error and the gradient there are exactly 0.
    (Multiplying both by a mask would invent edges instead.)
    """
    if weight is None:
        return input
    peak = weight.amax(dim=(1, 2, 3), keepdim=True)
    share = weight / torch.where(peak <= SMALLEST_WEIGHT, torch.ones_like(peak), peak)
    return torch.lerp(target, input, share)
