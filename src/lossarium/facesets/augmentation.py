"""Augmentation, batched on the device: colour, an affine transform, and the random warp of face swapping.

The network sees the warped picture and must give back the unwarped one. That is what makes its encoder
describe pose and expression rather than copy pixels, and so what makes swapping work.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

_WARP_NODES = 5

# The places of a picture's random numbers: uniform in [-1, 1), but for the warp's, which are standard normal.
_ROTATION, _ZOOM, _SHIFT_X, _SHIFT_Y, _MIRROR, _BRIGHTNESS, _CONTRAST = range(7)
_TINT = slice(7, 10)
_WARP = slice(10, 10 + 2 * _WARP_NODES**2)


@dataclass(frozen=True)
class Augmentation:
    """How much each picture is changed. Lengths are shares of the picture's side."""

    rotation: float = 5.0
    """Largest turn in degrees, either way."""
    zoom: float = 0.04
    """Largest change of scale, up or down."""
    shift: float = 0.03
    """Largest shift, each way."""
    flip: float = 0.5
    """How often a picture is mirrored."""
    warp: float = 0.025
    """Standard deviation of the jitter of the 5x5 warp grid (faceswap's: 5 pixels of 160)."""
    brightness: float = 0.03
    """Largest brightness added or taken away, of 1."""
    contrast: float = 0.06
    """Largest relative change of contrast."""
    tint: float = 0.02
    """Largest relative change of each channel's gain."""


def draw(generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """All random numbers that one picture's augmentation needs, (places,)."""
    uniform = generator.uniform(-1, 1, _WARP.start)
    return np.concatenate([uniform, generator.standard_normal(_WARP.stop - _WARP.start)])


def augment(frames: Tensor, drawn: Tensor, amount: Augmentation) -> tuple[Tensor, Tensor]:
    """The network's input and its target.

    Args:
        frames: (N, 3, H, W) in [0, 1].
        drawn: (N, places), from `draw`, a row a picture.
        amount: How much.

    Returns:
        The warped and the unwarped picture, both (N, 3, H, W) in [0, 1], alike in all else.
    """
    coloured = _coloured(frames, drawn, amount)
    affine = _affine(drawn, amount)
    grid = F.affine_grid(affine, list(frames.shape), align_corners=False)
    # Bicubic, since a blurred target would teach every loss to blur.
    target = _sampled(coloured, grid, "bicubic").clamp(0, 1)
    return _sampled(coloured, grid + _warp(drawn, affine, frames.shape[2:], amount), "bilinear"), target


def _sampled(frames: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(frames, grid, mode=mode, padding_mode="reflection", align_corners=False)


def _coloured(frames: Tensor, drawn: Tensor, amount: Augmentation) -> Tensor:
    def column(index: int) -> Tensor:
        return drawn[:, index].view(-1, 1, 1, 1)

    tint = 1 + amount.tint * drawn[:, _TINT].view(-1, 3, 1, 1)
    gain = 1 + amount.contrast * column(_CONTRAST)
    middle = frames.mean(dim=(1, 2, 3), keepdim=True)
    contrasted = torch.addcmul(middle + amount.brightness * column(_BRIGHTNESS), frames - middle, gain)
    return (contrasted * tint).clamp(0, 1)


def _affine(drawn: Tensor, amount: Augmentation) -> Tensor:
    """(N, 2, 3), from the places of the result to the places of the frame, in units of half a side."""
    angle = torch.deg2rad(amount.rotation * drawn[:, _ROTATION])
    scale = torch.exp(amount.zoom * drawn[:, _ZOOM])
    mirror = torch.where(drawn[:, _MIRROR].abs() < amount.flip, -1.0, 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    shift_x, shift_y = 2 * amount.shift * drawn[:, _SHIFT_X], 2 * amount.shift * drawn[:, _SHIFT_Y]
    rows = [cosine * mirror, -sine, shift_x, sine * mirror, cosine, shift_y]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _warp(drawn: Tensor, affine: Tensor, shape: torch.Size, amount: Augmentation) -> Tensor:
    """The jitter of the 5x5 nodes, spread over the picture and turned as the picture is, (N, H, W, 2)."""
    nodes = 2 * amount.warp * drawn[:, _WARP].view(-1, 2, _WARP_NODES, _WARP_NODES)
    field = F.interpolate(nodes, size=list(shape), mode="bilinear", align_corners=True)
    return torch.einsum("nij,njhw->nhwi", affine[:, :, :2], field)
