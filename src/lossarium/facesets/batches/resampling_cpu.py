"""Augmentation on a CPU: from 8-bit frames to the network's input and its target, a picture at a time.

`facesets.batches.augmentation` defines the augmentation. Here each frame's changed colours are written to a
sheet, with the four channels of a pixel side by side and mirrored borders. Both pictures are sampled from it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.threads import Work, run_tiles
from lossarium.facesets.batches.colour_cpu import colour_by_table, colour_in_lab
from lossarium.facesets.batches.contrast_cpu import LEVELS
from lossarium.facesets.batches.pixel_vectors_cpu import mix_pixels

WARP_NODES = 5
"""Nodes of the warp along each side."""

# How far the bicubic kernel reaches beyond a pixel.
_REACH = 2
# Keys' bicubic with torch's parameter.
_A = np.float32(-0.75)
_HALF, _ONE, _TWO, _ZERO = np.float32(0.5), np.float32(1), np.float32(2), np.float32(0)


def augmented(
    frames: NDArray[np.uint8],
    changes: NDArray[np.float32],
    tiles: NDArray[np.intp] | None,
    clip: float,
    affine: NDArray[np.float32],
    nodes: NDArray[np.float32],
) -> tuple[Tensor, Tensor]:
    """The warped and the unwarped pictures, both (N, 3, H, W) in [0, 1].

    Args:
        frames: (N, H, W, 3), 8-bit sRGB.
        changes: (N, `colour_cpu.CHANGES`).
        tiles: (N,), CLAHE's tiles along each side of each picture, 0 for no CLAHE; None to change nothing in
            CIELAB.
        clip: CLAHE's clip limit.
        affine: (N, 6), by pixels: the frame's x is a[0] + a[1] column + a[2] row, and its y
            a[3] + a[4] column + a[5] row.
        nodes: (N, 2, nodes, nodes), what the warp adds to x and y at its nodes, in pixels.
    """
    n, height, width, _ = frames.shape
    input, target = torch.empty(n, 3, height, width), torch.empty(n, 3, height, width)
    most = 0 if tiles is None else int(tiles.max(initial=0))
    pictures, truths = input.numpy(), target.numpy()

    def worker() -> Work:
        sheet = np.zeros((height + 2 * _REACH, width + 2 * _REACH, 4), np.float32)
        table, rows = np.empty((3, 256), np.float32), np.empty((10, width), np.float32)
        at, pixels = np.empty(width, np.int32), np.empty(4 * width, np.float32)
        lab = np.empty((3, height, width) if tiles is not None else (3, 0, 0), np.float32)
        curves = np.empty((most, most, LEVELS + 1), np.float32)
        lines = np.empty((most, LEVELS + 1), np.float32)

        def work(k: int) -> None:
            if tiles is None:
                colour_by_table(frames[k], changes[k], table, sheet)
            else:
                parts = int(tiles[k])
                colour_in_lab(
                    frames[k], changes[k], parts, np.float32(clip), table, curves, lines, lab, sheet
                )
            _sample(sheet, affine[k], nodes[k], at, rows, pixels, pictures[k], truths[k])

        return work

    run_tiles(n, worker)
    return input, target


@compiled
def _sample(
    sheet: Reals,
    affine: Reals,
    nodes: Reals,
    at: Reals,
    rows: Reals,
    pixels: Reals,
    input: Reals,
    target: Reals,
) -> None:
    """Sample both pictures from the sheet: the target bicubically, the input bilinearly.

    `at`, `rows` and `pixels` are scratch, (W,), (10, W) and (4 W,).
    """
    _mirror_borders(sheet)
    _, height, width = target.shape
    values = sheet.reshape(sheet.size)
    stride = sheet.shape[1] * 4
    x, y = rows[0], rows[1]
    down = np.float32((WARP_NODES - 1) / max(height - 1, 1))
    for i in range(height):
        row = np.float32(i)
        start_x, start_y = affine[0] + affine[2] * row, affine[3] + affine[5] * row
        for j in range(width):
            x[j] = start_x + affine[1] * np.float32(j)
            y[j] = start_y + affine[4] * np.float32(j)
        _bicubic_places(x, y, height, width, stride, at, rows)
        _read_bicubic(values, stride, at, rows, pixels, target[0, i], target[1, i], target[2, i])
        for j in range(width):
            x[j] = start_x + affine[1] * np.float32(j)
            y[j] = start_y + affine[4] * np.float32(j)
        place = row * down
        upper = min(int(place), WARP_NODES - 2)
        share = place - np.float32(upper)
        _add_warp(nodes[0, upper], nodes[0, upper + 1], share, x)
        _add_warp(nodes[1, upper], nodes[1, upper + 1], share, y)
        _bilinear_places(x, y, height, width, stride, at)
        _read_bilinear(values, stride, at, x, y, pixels, input[0, i], input[1, i], input[2, i])


@inlined
def _mirror_borders(sheet: Reals) -> None:
    """Fill the border around the picture with its mirror image."""
    height, width = sheet.shape[0] - 2 * _REACH, sheet.shape[1] - 2 * _REACH
    for i in range(height):
        row = sheet[i + _REACH]
        for k in range(2 * _REACH):
            place = k - _REACH if k < _REACH else width + k - _REACH
            source = _mirrored(place, width)
            for channel in range(3):
                row[place + _REACH, channel] = row[source + _REACH, channel]
    for k in range(2 * _REACH):
        place = k - _REACH if k < _REACH else height + k - _REACH
        row, source_row = sheet[place + _REACH], sheet[_mirrored(place, height) + _REACH]
        for j in range(row.shape[0]):
            for channel in range(3):
                row[j, channel] = source_row[j, channel]


@inlined
def _mirrored(place: int, side: int) -> int:
    place = place % (2 * side)
    return place if place < side else 2 * side - 1 - place


@inlined
def _between_mirrors(place: Real, side: Real, both: Real) -> Real:
    """Reflect a coordinate at the borders into [-1/2, side - 1/2]; `both` is 1 / (2 side)."""
    place = place + _HALF
    place = abs(place - _TWO * side * np.floor(place * both + _HALF))
    return min(place, side) - _HALF


@inlined
def _bicubic_places(x: Reals, y: Reals, height: int, width: int, stride: int, at: Reals, rows: Reals) -> None:
    """Where the 4 x 4 values of each pixel begin, and the shares of their columns and rows."""
    across, high = np.float32(width), np.float32(height)
    both_x, both_y = np.float32(0.5) / across, np.float32(0.5) / high
    a, b, c, d = rows[2], rows[3], rows[4], rows[5]
    e, f, g, h = rows[6], rows[7], rows[8], rows[9]
    step = np.int32(stride)
    for j in range(x.size):
        column, row = _between_mirrors(x[j], across, both_x), _between_mirrors(y[j], high, both_y)
        left, upper = np.floor(column), np.floor(row)
        at[j] = np.int32(np.int32(upper + _ONE) * step + np.int32(left + _ONE) * np.int32(4))
        rest_x, rest_y = column - left, row - upper
        a[j], b[j], c[j], d[j] = _far(rest_x), _near(rest_x), _near(_ONE - rest_x), _far(_ONE - rest_x)
        e[j], f[j], g[j], h[j] = _far(rest_y), _near(rest_y), _near(_ONE - rest_y), _far(_ONE - rest_y)


@inlined
def _near(t: Real) -> Real:
    """The kernel at t in [0, 1]."""
    return ((_A + _TWO) * t - (_A + np.float32(3))) * t * t + _ONE


@inlined
def _far(t: Real) -> Real:
    """The kernel at 1 + t, t in [0, 1]: A ((1 + t)^3 - 5 (1 + t)^2 + 8 (1 + t) - 4) = A t (t - 1)^2."""
    return _A * t * (t - _ONE) * (t - _ONE)


@inlined
def _read_bicubic(
    values: Reals, stride: int, at: Reals, rows: Reals, pixels: Reals, red: Reals, green: Reals, blue: Reals
) -> None:
    for j in range(red.size):
        columns = (rows[2, j], rows[3, j], rows[4, j], rows[5, j])
        lines = (rows[6, j], rows[7, j], rows[8, j], rows[9, j])
        mix_pixels(values, at[j], stride, columns, lines, pixels, 4 * j)
    for j in range(red.size):
        red[j] = min(max(pixels[4 * j], _ZERO), _ONE)
        green[j] = min(max(pixels[4 * j + 1], _ZERO), _ONE)
        blue[j] = min(max(pixels[4 * j + 2], _ZERO), _ONE)


@inlined
def _add_warp(above: Reals, below: Reals, share: Real, places: Reals) -> None:
    """Add to a row of coordinates the warp interpolated between two rows of nodes."""
    width, parts = places.size, WARP_NODES - 1
    along = np.float32(parts / max(width - 1, 1))
    for part in range(parts):
        first = (part * (width - 1) + parts - 1) // parts
        last = width if part == parts - 1 else ((part + 1) * (width - 1) + parts - 1) // parts
        left = above[part] + share * (below[part] - above[part])
        right = above[part + 1] + share * (below[part + 1] - above[part + 1])
        slope, begin = right - left, np.float32(part)
        for j in range(first, last):
            places[j] += left + (np.float32(j) * along - begin) * slope


@inlined
def _bilinear_places(x: Reals, y: Reals, height: int, width: int, stride: int, at: Reals) -> None:
    """Where the 2 x 2 values of each pixel begin; x and y become the shares of the right and lower values."""
    across, high = np.float32(width), np.float32(height)
    both_x, both_y = np.float32(0.5) / across, np.float32(0.5) / high
    step = np.int32(stride)
    for j in range(x.size):
        column, row = _between_mirrors(x[j], across, both_x), _between_mirrors(y[j], high, both_y)
        left, upper = np.floor(column), np.floor(row)
        at[j] = np.int32(np.int32(upper + _TWO) * step + np.int32(left + _TWO) * np.int32(4))
        x[j], y[j] = column - left, row - upper


@inlined
def _read_bilinear(
    values: Reals,
    stride: int,
    at: Reals,
    x: Reals,
    y: Reals,
    pixels: Reals,
    red: Reals,
    green: Reals,
    blue: Reals,
) -> None:
    for j in range(red.size):
        mix_pixels(values, at[j], stride, (_ONE - x[j], x[j]), (_ONE - y[j], y[j]), pixels, 4 * j)
    for j in range(red.size):
        red[j], green[j], blue[j] = pixels[4 * j], pixels[4 * j + 1], pixels[4 * j + 2]
