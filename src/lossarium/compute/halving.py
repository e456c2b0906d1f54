"""Downsample planes by two (means over 2x2 pixels), and take gradients back to full size."""

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import steps

_QUARTER = np.float32(0.25)
# Pixels in a tile, which is made of whole planes: enough that the interpreter's overhead is small.
_TILE_PIXELS = 1 << 17


def halved_sides(height: int, width: int) -> tuple[int, int]:
    return (height + 1) // 2, (width + 1) // 2


def halved(pictures: Tensor) -> Tensor:
    """(N, C, ceil(H / 2), ceil(W / 2)). A side of odd length is padded with a line of zeros at its start."""
    n, channels, height, width = pictures.shape
    half = torch.empty(n, channels, *halved_sides(height, width))
    fine, coarse = _planes(pictures), _planes(half)
    tiles = _tiles(fine)

    def worker() -> Work:
        def work(tile: int) -> None:
            _halve(fine, coarse, *tiles[tile])

        return work

    run_tiles(len(tiles), worker)
    return half


def add_gradient_of_halves(gradient: Tensor, factor: float, coarse_gradient: Tensor | None) -> None:
    """Multiply a gradient by a factor and add the gradient that comes from the halved planes, in place."""
    fine = _planes(gradient)
    coarse = np.zeros((len(fine), 0, 0), np.float32) if coarse_gradient is None else _planes(coarse_gradient)
    tiles, share = _tiles(fine), np.float32(factor)

    def worker() -> Work:
        def work(tile: int) -> None:
            _combine(fine, share, coarse, *tiles[tile])

        return work

    run_tiles(len(tiles), worker)


def _planes(pictures: Tensor) -> Reals:
    n, channels, height, width = pictures.shape
    return pictures.view(n * channels, height, width).numpy()


def _tiles(planes: Reals) -> list[tuple[int, int]]:
    """The first plane of each tile and the one after its last."""
    together = max(_TILE_PIXELS // planes[0].size, 1)
    return steps(len(planes), together)


@compiled
def _halve(fine: Reals, coarse: Reals, first: int, end: int) -> None:
    for plane in range(first, end):
        halve_plane(fine[plane], coarse[plane])


@compiled
def _combine(fine: Reals, factor: Real, coarse: Reals, first: int, end: int) -> None:
    for plane in range(first, end):
        combine_plane(fine[plane], factor, coarse[plane])


@inlined
def halve_plane(fine: Reals, coarse: Reals) -> None:
    height, width = fine.shape
    # With an odd number of lines, the first is averaged with the padding of zeros.
    odd_height, odd_width = height % 2, width % 2
    for i in range(coarse.shape[0]):
        upper, lower = fine[max(2 * i - odd_height, 0)], fine[2 * i + 1 - odd_height]
        share = np.float32(0) if 2 * i < odd_height else _QUARTER
        row = coarse[i]
        if odd_width:
            row[0] = share * upper[0] + _QUARTER * lower[0]
        rest, above, below = row[odd_width:], upper[odd_width:], lower[odd_width:]
        for j in range(rest.size):
            rest[j] = share * (above[2 * j] + above[2 * j + 1]) + _QUARTER * (below[2 * j] + below[2 * j + 1])


@inlined
def combine_plane(fine: Reals, factor: Real, coarse: Reals) -> None:
    height, width = fine.shape
    odd_height, odd_width = height % 2, width % 2
    for i in range(height):
        row = fine[i]
        if coarse.size == 0:
            for j in range(width):
                row[j] *= factor
            continue
        halves = coarse[(i + odd_height) // 2]
        if odd_width:
            row[0] = factor * row[0] + _QUARTER * halves[0]
        rest, half = row[odd_width:], halves[odd_width:]
        for j in range(half.size):
            rest[2 * j] = factor * rest[2 * j] + _QUARTER * half[j]
            rest[2 * j + 1] = factor * rest[2 * j + 1] + _QUARTER * half[j]
