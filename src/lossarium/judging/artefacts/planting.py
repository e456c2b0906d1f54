"""Artefacts of known strength, planted into clean pictures: to test what measures them, and to show them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.judging.artefacts.preparation import LEVELS, gaussian

Plant = Callable[[Tensor, float, int], Tensor]
"""(pictures (N, C, H, W), strength, seed) -> pictures with an artefact; strength 0 leaves them as they
are."""


def checkerboard(pictures: Tensor, strength: float, seed: int, *, period: int = 4) -> Tensor:
    """What transposed convolutions leave: a random pattern of period x period pixels, in each channel
    another.

    Args:
        pictures: (N, C, H, W).
        strength: The pattern's root mean square, in grey levels of 255.
        seed: Of the patterns; another for each picture.
        period: The stride of the convolution, in pixels.
    """
    n, channels, height, width = pictures.shape
    tile = _noise((n, channels, period, period), seed).to(pictures)
    tile = tile - tile.mean(dim=(2, 3), keepdim=True)
    repeats = (1, 1, math.ceil(height / period), math.ceil(width / period))
    return pictures + strength / LEVELS * _normed(tile).repeat(repeats)[..., :height, :width]


def lines(pictures: Tensor, strength: float, seed: int, *, period: int = 8) -> Tensor:  # noqa: ARG001
    """Lines along the borders of blocks, as JPEG's: root mean square `strength`, in grey levels of 255."""
    down, across = (torch.arange(side) % period == period - 1 for side in pictures.shape[-2:])
    drawn = (down[:, None] | across[None, :]).to(pictures)
    return pictures + strength / LEVELS * _normed((drawn - drawn.mean())[None, None])


def tint(pictures: Tensor, strength: float, seed: int) -> Tensor:
    """Another colour everywhere: an offset of `strength` grey levels, root mean square over the channels."""
    n, channels, *_ = pictures.shape
    return pictures + strength / LEVELS * _normed(_noise((n, channels, 1, 1), seed).to(pictures))


def local_tint(pictures: Tensor, strength: float, seed: int) -> Tensor:
    """Another colour in half of the picture, on one side of a soft line through its middle; as `tint`
    there."""
    height, width = pictures.shape[-2:]
    angle = 2 * math.pi * float(torch.rand((), generator=torch.Generator().manual_seed(seed)))
    down, across = (torch.linspace(-1, 1, side) for side in (height, width))
    along = math.cos(angle) * down[:, None] + math.sin(angle) * across[None, :]
    return torch.lerp(pictures, tint(pictures, strength, seed), torch.sigmoid(20 * along).to(pictures))


def gaussian_blur(pictures: Tensor, strength: float, seed: int) -> Tensor:  # noqa: ARG001
    """Gaussian blur with a standard deviation of `strength` pixels."""
    return gaussian(pictures, strength) if strength > 0 else pictures


def unsharp_mask(pictures: Tensor, strength: float, seed: int) -> Tensor:  # noqa: ARG001
    """Halos: `strength` times the difference from a Gaussian blur of 1.5 pixels is added."""
    return pictures + strength * (pictures - gaussian(pictures, 1.5))


def sharp_low_pass(pictures: Tensor, strength: float, seed: int, *, cutoff: float = 0.15) -> Tensor:  # noqa: ARG001
    """Gibbs' echoes: `strength` times what an ideal low-pass changes is added.

    Args:
        pictures: (N, C, H, W).
        strength: 1 is the ideal low-pass itself.
        seed: Unused.
        cutoff: In cycles a pixel, up to 0.5.
    """
    height, width = pictures.shape[-2:]
    # Mirrored, so that opposite borders do not make edges.
    doubled = torch.cat([pictures, pictures.flip(3)], dim=3)
    doubled = torch.cat([doubled, doubled.flip(2)], dim=2)
    down, across = (torch.fft.fftfreq(2 * side) for side in (height, width))
    kept = (torch.hypot(down[:, None], across[None, :]) <= cutoff).to(pictures)
    passed = torch.fft.ifft2(torch.fft.fft2(doubled) * kept).real[..., :height, :width]
    return torch.lerp(pictures, passed, strength)


def smooth_spots(pictures: Tensor, strength: float, seed: int, *, spots: int = 5) -> Tensor:
    """Smooth random spots, some `spots` to a side, in each channel others: root mean square `strength`, in
    grey levels of 255."""
    n, channels, height, width = pictures.shape
    coarse = _noise((n, channels, 2 * spots, 2 * spots), seed).to(pictures)
    field = F.interpolate(gaussian(coarse, 1.0), size=(height, width), mode="bicubic", align_corners=False)
    return pictures + strength / LEVELS * _normed(field - field.mean(dim=(2, 3), keepdim=True))


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _normed(pattern: Tensor) -> Tensor:
    """Brought to a root mean square of 1, picture by picture."""
    return pattern / pattern.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
