"""CLAHE: contrast limited adaptive histogram equalisation.

Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994. `contrast_cpu` is the
CPU kernel.
"""

import torch
from torch import Tensor

from lossarium.facesets.batches.contrast_cpu import LEVELS


def clahe(lightness: Tensor, tiles: int, clip: float) -> Tensor:
    """Equalise the lightness of each tile of a picture.

    Each of tiles x tiles tiles has a histogram of 256 bins. Counts above `clip` times the mean count are
    clipped and the excess is spread evenly over all bins, once; the cumulative histogram is the curve that
    maps the tile's lightness. A pixel's result is interpolated bilinearly between the curves of the four
    nearest tiles, by its distance from their centres. Curves are linear within a bin, so smooth areas get no
    bands.

    Args:
        lightness: (N, H, W) in [0, 1].
        tiles: Tiles along each side; at most H and W.
        clip: The largest slope of a curve before the excess is redistributed; near 0 the picture does not
            change.

    Returns:
        (N, H, W) in [0, 1]. Each tile's curve is monotone.
    """
    n, height, width = lightness.shape
    curves = _curves(lightness, tiles, clip).flatten()
    level = (lightness * LEVELS).long().clamp(0, LEVELS - 1)
    beyond = lightness * LEVELS - level
    picture = torch.arange(n, device=lightness.device).view(-1, 1, 1) * tiles**2
    upper, lower, down = _neighbours(height, tiles, lightness)
    left, right, along = _neighbours(width, tiles, lightness)

    def mapped(row: Tensor, column: Tensor) -> Tensor:
        place = (picture + row.view(-1, 1) * tiles + column) * (LEVELS + 1) + level
        return torch.lerp(curves[place], curves[place + 1], beyond)

    above = torch.lerp(mapped(upper, left), mapped(upper, right), along)
    below = torch.lerp(mapped(lower, left), mapped(lower, right), along)
    return torch.lerp(above, below, down.view(-1, 1))


def _curves(lightness: Tensor, tiles: int, clip: float) -> Tensor:
    """The curves (N, tiles^2, levels + 1), each from 0 to 1."""
    n, height, width = lightness.shape
    rows, columns = (_tile_of(side, tiles, lightness.device) for side in (height, width))
    tile = (rows.view(-1, 1) * tiles + columns).expand(n, -1, -1)
    picture = torch.arange(n, device=lightness.device).view(-1, 1, 1) * tiles**2
    level = (lightness * LEVELS).long().clamp(0, LEVELS - 1)
    places = ((picture + tile) * LEVELS + level).flatten()
    counts = torch.bincount(places, minlength=n * tiles**2 * LEVELS).view(n, tiles**2, LEVELS)
    shares = counts.to(lightness.dtype) / counts.sum(dim=2, keepdim=True)
    kept = shares.clamp(max=clip / LEVELS)
    spread = (1 - kept.sum(dim=2, keepdim=True)) / LEVELS
    return torch.cat([torch.zeros_like(spread), (kept + spread).cumsum(dim=2)], dim=2)


def _tile_of(side: int, tiles: int, device: torch.device) -> Tensor:
    return torch.arange(side, device=device) * tiles // side


def _neighbours(side: int, tiles: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tiles whose centres lie before and after each pixel, and the weight of the second."""
    places = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * tiles / side - 0.5
    places = places.clamp(0, tiles - 1)
    first = places.long().clamp(max=max(tiles - 2, 0))
    return first, (first + 1).clamp(max=tiles - 1), places - first
