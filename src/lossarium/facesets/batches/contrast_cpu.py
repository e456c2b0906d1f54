"""CLAHE of one plane, as `facesets.batches.contrast` defines it."""

import numpy as np

from lossarium.compute.compiling import Real, Reals, inlined

LEVELS = 256
"""Bins of a histogram."""

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)
_SCALE = np.float32(LEVELS)


@inlined
def equalise(light: Reals, tiles: int, clip: Real, curves: Reals, lines: Reals) -> None:
    """Apply CLAHE in place.

    Args:
        light: (H, W) in [0, 1].
        tiles: Tiles along each side, at most H and W.
        clip: The greatest slope of a curve before the clipped excess is redistributed.
        curves: Scratch, at least (tiles, tiles, levels + 1).
        lines: Scratch, at least (tiles, levels + 1).
    """
    height, width = light.shape
    for row in range(tiles):
        top, bottom = _first_of(row, tiles, height), _first_of(row + 1, tiles, height)
        for column in range(tiles):
            start, stop = _first_of(column, tiles, width), _first_of(column + 1, tiles, width)
            _learn_curve(light[top:bottom, start:stop], clip, curves[row, column])
    down, along = np.float32(tiles / height), np.float32(tiles / width)
    for i in range(height):
        place = min(max((np.float32(i) + _HALF) * down - _HALF, _ZERO), np.float32(tiles - 1))
        upper = min(int(place), max(tiles - 2, 0))
        share = place - np.float32(upper)
        for column in range(tiles):
            above, below = curves[upper, column], curves[min(upper + 1, tiles - 1), column]
            line = lines[column]
            for level in range(LEVELS + 1):
                line[level] = above[level] + share * (below[level] - above[level])
        _follow(light[i], tiles, along, lines)


@inlined
def _first_of(tile: int, tiles: int, side: int) -> int:
    """The first pixel j with j * tiles // side == tile."""
    return (tile * side + tiles - 1) // tiles


@inlined
def _learn_curve(part: Reals, clip: Real, curve: Reals) -> None:
    for level in range(LEVELS + 1):
        curve[level] = _ZERO
    for i in range(part.shape[0]):
        row = part[i]
        for j in range(row.size):
            curve[min(max(int(row[j] * _SCALE), 0), LEVELS - 1) + 1] += _ONE
    unit = _ONE / np.float32(part.size)
    highest, kept = clip / _SCALE, _ZERO
    for level in range(1, LEVELS + 1):
        curve[level] = min(curve[level] * unit, highest)
        kept += curve[level]
    spread, total = (_ONE - kept) / _SCALE, _ZERO
    for level in range(1, LEVELS + 1):
        total += curve[level] + spread
        curve[level] = total


@inlined
def _follow(row: Reals, tiles: int, along: Real, lines: Reals) -> None:
    for j in range(row.size):
        place = min(max((np.float32(j) + _HALF) * along - _HALF, _ZERO), np.float32(tiles - 1))
        first = min(int(place), max(tiles - 2, 0))
        share = place - np.float32(first)
        scaled = row[j] * _SCALE
        level = min(max(int(scaled), 0), LEVELS - 1)
        beyond = scaled - np.float32(level)
        left, right = lines[first], lines[min(first + 1, tiles - 1)]
        before = left[level] + beyond * (left[level + 1] - left[level])
        after = right[level] + beyond * (right[level + 1] - right[level])
        row[j] = before + share * (after - before)
