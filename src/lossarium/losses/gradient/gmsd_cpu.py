"""Kernels for GMSD and MS-GMSD. Contract: `lossarium.losses.fused.LossKernel`.

The pictures are halved from level to level, and every level is swept twice (`gmsd_sweeps_cpu`). Going down,
each sweep sums the level's dissimilarities and their squares and makes the next level. That gives the
variances, and so the derivative by each dissimilarity. Going up, each sweep computes the dissimilarities
again, gathers the derivatives by the level's own pixels and adds those of the coarser level. The first level
is not stored but read from the pictures twice.
"""

import math
from array import array
from dataclasses import dataclass

import numpy as np
import torch
from numba.np.numpy_support import carray
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, doubles_at, floats_at, inlined, native, next_of
from lossarium.compute.halving import halved_sides
from lossarium.compute.threads import Work, run_native, run_tiles
from lossarium.compute.tiling import steps
from lossarium.compute.weighting import luminance_shares
from lossarium.losses.gradient.constants import ROOT_EPSILON
from lossarium.losses.gradient.gmsd_sweeps_cpu import (
    PART_SIZE,
    SCRATCH_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    ascend,
    descend,
    halve_counts,
    strip_rows,
)

Measured = tuple[Tensor, Tensor | None]

# Pixels in a tile of small planes, and how many such tiles are worth another thread.
_TILE = 1 << 15
_LEAST_TILES = 2
# Planes of up to this many pixels keep all their levels in the cache: a tile takes them through all levels.
_LARGEST_AT_ONCE = 1 << 17


@inlined
def _level(pyramid: Reals, start: int, height: int, width: int) -> Reals:
    return pyramid[start : start + height * width].reshape(1, 1, height, width)


@inlined
def _small_planes(
    x: Reals,
    y: Reals,
    shares: Reals,
    gradient: Reals,
    pyramid: tuple[Reals, Reals, Reals],
    sides: Reals,
    starts: Reals,
    exact: Reals,
    scratch: Reals,
    scale_weights: Reals,
    share: float,
    c: Real,
    alpha: Real,
    strip_height: int,
    first: int,
    end: int,
    values: Reals,
) -> None:
    """Take planes first to end down all levels and up again: their deviations, and gradients times `share`.

    The pyramid has room for one plane's coarser x, error and gradient; `starts` has each level's offset.
    """
    scales = scale_weights.size
    coarser_x, coarser_error, coarser_gradient = pyramid
    no_counts, no_sums, sums = np.empty((1, 0, 0), np.float32), np.empty((1, 0, 3)), np.empty((1, 1, 3))
    nothing = np.empty(0, np.float32)
    means, factors = np.empty(scales, np.float32), np.empty(scales)
    for plane in range(first, end):
        variance = 0.0
        finest_x, finest_y = x[plane : plane + 1], y[plane : plane + 1]
        for scale in range(scales):
            height, width = sides[scale]
            tile = (0, 1, 0, 0, height, 0, width)
            compared = scale_weights[scale] > 0
            of_level = sums if compared else no_sums
            half_x, half_error = _level(coarser_x, 0, 0, 0), _level(coarser_error, 0, 0, 0)
            if scale + 1 < scales:
                half_height, half_width = sides[scale + 1]
                half_x = _level(coarser_x, starts[scale + 1], half_height, half_width)
                half_error = _level(coarser_error, starts[scale + 1], half_height, half_width)
            if scale == 0:
                descend(
                    finest_x, finest_y, shares, no_counts, 1, half_x, half_error, of_level,
                    exact, scratch, c, alpha, strip_height, tile,
                )  # fmt: skip
            else:
                level_x = _level(coarser_x, starts[scale], height, width)
                level_error = _level(coarser_error, starts[scale], height, width)
                descend(
                    level_x, level_error, None, no_counts, 1, half_x, half_error, of_level,
                    exact, scratch, c, alpha, strip_height, tile,
                )  # fmt: skip
            factors[scale] = 0.0
            if compared:
                total, squares, counted = sums[0, 0]
                mean = total / counted
                variance += scale_weights[scale] * max(squares / counted - mean * mean, 0.0)
                means[scale], factors[scale] = np.float32(mean), scale_weights[scale] / counted
        root = math.sqrt(variance + ROOT_EPSILON)
        values[plane] = variance / (root + math.sqrt(ROOT_EPSILON))
        if gradient.size == 0:
            continue
        slopes = _level(coarser_gradient, 0, 0, 0)
        for scale in range(scales - 1, -1, -1):
            height, width = sides[scale]
            tile = (0, 1, 0, 0, height, 0, width)
            pull = (factors[scale : scale + 1] * (share / root)).astype(np.float32)
            mean, pull = (means[scale : scale + 1], pull) if factors[scale] > 0 else (nothing, nothing)
            if scale == 0:
                ascend(
                    finest_x, finest_y, shares, no_counts, 1, slopes, gradient[plane : plane + 1], mean, pull,
                    exact, scratch, c, alpha, strip_height, tile,
                )  # fmt: skip
            else:
                level_x = _level(coarser_x, starts[scale], height, width)
                level_error = _level(coarser_error, starts[scale], height, width)
                level_gradient = _level(coarser_gradient, starts[scale], height, width)
                ascend(
                    level_x, level_error, None, no_counts, 1, slopes, level_gradient, mean, pull,
                    exact, scratch, c, alpha, strip_height, tile,
                )  # fmt: skip
                slopes = level_gradient


def _tiles_of_small_planes(arguments: Reals) -> None:
    """Take tiles, each some planes, until none is left; `_of_small_planes` packs the arguments."""
    count, together, planes, channels = arguments[1], arguments[2], arguments[3], arguments[4]
    scales, strip_height = arguments[5], arguments[10]
    sides, starts = np.empty((scales, 2), np.int64), np.zeros(scales + 1, np.int64)
    for scale in range(scales):
        sides[scale, 0], sides[scale, 1] = arguments[11 + 2 * scale], arguments[12 + 2 * scale]
        if scale > 0:
            starts[scale + 1] = starts[scale] + sides[scale, 0] * sides[scale, 1]
    height, width = sides[0]
    x = carray(floats_at(arguments[6]), (planes, channels, height, width))
    y = carray(floats_at(arguments[7]), (planes, channels, height, width))
    there = 1 if arguments[8] else 0
    gradient = carray(floats_at(arguments[8]), (planes, channels, height * there, width * there))
    numbers = carray(doubles_at(arguments[9]), (3 + channels + scales + planes,))
    c, alpha, share = np.float32(numbers[0]), np.float32(numbers[1]), numbers[2]
    shares, scale_weights = numbers[3 : 3 + channels], numbers[3 + channels : 3 + channels + scales]
    values = numbers[3 + channels + scales :]
    exact, scratch = np.empty(PART_SIZE), np.empty(SCRATCH_SIZE, np.float32)
    room = starts[scales]
    pyramid = (np.empty(room), np.empty(room, np.float32), np.empty(room, np.float32))
    tile = next_of(arguments, 0)
    while tile < count:
        first = tile * together
        _small_planes(
            x, y, shares, gradient, pyramid, sides, starts, exact, scratch, scale_weights, share, c, alpha,
            strip_height, first, min(first + together, planes), values,
        )  # fmt: skip
        tile = next_of(arguments, 0)


_SMALL_PLANES = native(_tiles_of_small_planes)


def gmsd(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, c: float, color: str
) -> Measured:
    """The deviation at the second level, where pictures are averaged over 2x2 pixels."""
    return ms_gmsd(input, target, weight, scale, scale_weights=(0.0, 1.0), c=c, alpha=0.0, color=color)


def ms_gmsd(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    scale_weights: tuple[float, ...],
    c: float,
    alpha: float,
    color: str,
) -> Measured:
    """The root of the weighted sum of the levels' variances, averaged over channels if these are separate."""
    constants = (np.float32(9 * c), np.float32(alpha))
    height, width = input.shape[2:]
    if weight is None and height * width <= _LARGEST_AT_ONCE and width <= TILE_WIDTH:
        return _of_small_planes(_finest(input, target, color), input, scale, scale_weights, constants)
    levels = [_finest(input, target, color)]
    counts = [np.zeros((len(input), 0, 0), np.float32) if weight is None else weight[:, 0].numpy()]
    for _ in scale_weights[1:]:
        levels.append(levels[-1].empty_coarser())
        counts.append(_halved_counts(counts[-1]))

    means, totals = [], []
    variance = np.zeros(len(levels[0].x))
    for place, scale_weight in enumerate(scale_weights):
        coarser = levels[place + 1] if place + 1 < len(levels) else None
        compared = scale_weight > 0
        total, squares, counted = _swept_down(levels[place], coarser, counts[place], constants, compared).T
        # A picture whose weights are all 0 has no dissimilarity.
        counted = np.where(counted > 0, counted, np.inf)
        mean = total / counted
        variance += scale_weight * np.maximum(squares / counted - mean * mean, 0)
        means.append(mean)
        totals.append(counted)
    root = np.sqrt(variance + ROOT_EPSILON)
    deviations = variance / (root + math.sqrt(ROOT_EPSILON))
    values = torch.from_numpy(deviations.reshape(len(input), -1).mean(axis=1).astype(np.float32))
    if scale is None:
        return values, None

    gradient: Reals = np.zeros((len(root), 1, 0, 0), np.float32)
    share = scale * len(input) / len(root)
    while levels:
        # Popped, so that the memory of coarser levels is free for the finer gradients.
        level, mean, total = levels.pop(), means.pop(), totals.pop()
        factors = share * scale_weights[len(levels)] / (root * total)
        gradient = _swept_up(level, gradient, counts[len(levels)], constants, mean, factors)
    return values, torch.from_numpy(gradient).view(input.shape)


def _of_small_planes(
    finest: "_Level",
    input: Tensor,
    scale: float | None,
    scale_weights: tuple[float, ...],
    constants: tuple[Real, Real],
) -> Measured:
    planes, channels, height, width = finest.x.shape
    gradient = None if scale is None else torch.empty_like(input)
    assert finest.shares is not None
    sides = [(height, width)]
    for _ in scale_weights[1:]:
        sides.append(halved_sides(*sides[-1]))
    share = (scale or 0.0) * len(input) / planes
    together = max(_TILE // (height * width), 1)
    tiles = -(-planes // together)
    few = (*constants, share, *finest.shares, *scale_weights)
    numbers = np.concatenate([few, np.empty(planes)])
    addresses = (
        finest.x.ctypes.data,
        finest.y.ctypes.data,
        0 if gradient is None else gradient.data_ptr(),
        numbers.ctypes.data,
        strip_rows(width),
    )
    arguments = array(
        "q",
        (
            *(0, tiles, together, planes, channels, len(sides)),
            *addresses,
            *(length for level in sides for length in level),
        ),
    )
    run_native(_SMALL_PLANES(), arguments.buffer_info()[0], tiles)
    values = numbers[len(few) :].reshape(len(input), -1).mean(axis=1)
    return torch.from_numpy(values.astype(np.float32)), gradient


@dataclass(frozen=True)
class _Level:
    """Planes of two pictures x and y, (planes, channels, H, W), whose channels are averaged by `shares`.

    In a coarser level there is one channel, `shares` is None, x is in float64 and y is the error.
    """

    x: Reals
    y: Reals
    shares: Reals | None

    def empty_coarser(self) -> "_Level":
        planes, _, height, width = self.x.shape
        shape = (planes, 1, *halved_sides(height, width))
        return _Level(np.empty(shape), np.empty(shape, np.float32), None)

    def tiles(self) -> list[Tile]:
        planes, _, height, width = self.x.shape
        together = max(_TILE // (height * width), 1)
        parts = [
            (*rows, *columns) for rows in steps(height, TILE_HEIGHT) for columns in steps(width, TILE_WIDTH)
        ]
        return [
            (*group, place, *part) for group in steps(planes, together) for place, part in enumerate(parts)
        ]


def _finest(input: Tensor, target: Tensor, color: str) -> _Level:
    """The pictures as the finest level: a plane for each picture, or for each of its channels."""
    n, channels, height, width = input.shape
    shares = (1.0,) if color == "rgb" else luminance_shares(channels)
    shape = (n * channels // len(shares), len(shares), height, width)
    x, y = (picture.view(shape).numpy() for picture in (input, target))
    return _Level(x, y, np.array(shares))


def _halved_counts(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights of the coarser level's pixels: the means of the weights of those that they average."""
    n, height, width = counts.shape
    halved = np.empty((n, *halved_sides(height, width)), np.float32)
    if halved.size == 0:
        return halved
    tiles = steps(n * halved.shape[1], max(_TILE // width, 1))
    run_tiles(len(tiles), lambda: lambda tile: halve_counts(counts, halved, *tiles[tile]), _LEAST_TILES)
    return halved


def _swept_down(
    level: _Level,
    coarser: _Level | None,
    counts: NDArray[np.float32],
    constants: tuple[Real, Real],
    compared: bool,
) -> NDArray[np.float64]:
    """Fill the coarser level; return each plane's sums of dissimilarities, squares, counts, (planes, 3)."""
    tiles = level.tiles()
    planes = len(level.x)
    sums = np.zeros((planes, tiles[-1][2] + 1 if compared else 0, 3))
    coarser_x, coarser_error = np.zeros((planes, 1, 0, 0)), np.zeros((planes, 1, 0, 0), np.float32)
    if coarser is not None:
        coarser_x, coarser_error = coarser.x, coarser.y
    planes_a_picture = planes // len(counts)
    c, alpha = constants
    strip_height = strip_rows(level.x.shape[-1])

    def worker() -> Work:
        exact, scratch = np.empty(PART_SIZE), np.empty(SCRATCH_SIZE, np.float32)

        def work(tile: int) -> None:
            descend(
                level.x, level.y, level.shares, counts, planes_a_picture,
                coarser_x, coarser_error, sums, exact, scratch, c, alpha, strip_height, tiles[tile],
            )  # fmt: skip

        return work

    run_tiles(len(tiles), worker, _LEAST_TILES)
    by_plane: NDArray[np.float64] = sums.sum(axis=1)
    return by_plane


def _swept_up(
    level: _Level,
    coarser_gradient: Reals,
    counts: NDArray[np.float32],
    constants: tuple[Real, Real],
    means: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> Reals:
    """The gradient by the level's x."""
    gradient = np.empty(level.x.shape, np.float32)
    tiles = level.tiles()
    planes_a_picture = len(gradient) // len(counts)
    compared = len(means) if factors.any() else 0
    centres, pulls = means[:compared].astype(np.float32), factors[:compared].astype(np.float32)
    c, alpha = constants
    strip_height = strip_rows(level.x.shape[-1])

    def worker() -> Work:
        exact, scratch = np.empty(PART_SIZE), np.empty(SCRATCH_SIZE, np.float32)

        def work(tile: int) -> None:
            ascend(
                level.x, level.y, level.shares, counts, planes_a_picture,
                coarser_gradient, gradient, centres, pulls, exact, scratch, c, alpha, strip_height,
                tiles[tile],
            )  # fmt: skip

        return work

    run_tiles(len(tiles), worker, _LEAST_TILES)
    return gradient
