"""The kernel of LDR-FLIP, value and gradient in one sweep. Contract: `lossarium.losses.fused.LossKernel`.

A tile is swept from top to bottom:

1. Rows of both pictures become opponent colours.
2. The filters of contrast sensitivity and of features run down the columns and then along the rows.
3. Comparing the filtered rows gives a row of FLIP and its slopes (derivatives) by the input's filtered rows.
4. The same filters run backwards (their adjoints) over the slopes, which gives a row of the gradient.

What later rows need stays in a scratch of rows that about fits the L2 cache.

The result must be exactly 0 where two pictures are equal. So both go through the same loops, and the loop
that compares them reads their colours from memory: nothing is left that the compiler could fuse into the
difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import exp, log
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import even_parts_up_to

# The length of a row of one kind, and the scratch's row stride: one row of each kind, side by side. Both are
# odd numbers of cache lines, so that rows do not compete for the same sets of the cache.
_STRIDE = 528
_KINDS = 13
_STEP = _KINDS * _STRIDE
# Pairs of taps that a filter handles in one loop: few enough for the processor's registers.
_PAIRS = 5
_STRIP = 16
_TILE_HEIGHT = 270
# A Gaussian's tails are cut where they sum to less than this, a few rounding errors.
_TAIL = 5e-7

# The kinds of rows: opponent colours of the input, then of the target; slopes by blurred colours; slopes by
# features, named by the filter and whether it runs along the row or down the columns.
_SLOPES = 6
_EDGE_ALONG, _POINT_ALONG, _EDGE_DOWN, _POINT_DOWN = (k * _STRIDE for k in range(3, 7))

# Single rows: the results of the filters down the columns, shared by both pictures; then a set for each
# picture, with the results of the filters along the rows and what is computed from them; then FLIP itself and
# each pixel's weight.
_DOWN = 8
_LUMINANCE, _RED_GREEN, _BLUE_YELLOW, _BLUE_YELLOW_2 = (k * _STRIDE for k in range(4))
_EDGE_X, _POINT_X, _EDGE_Y, _POINT_Y = (k * _STRIDE for k in range(4, 8))
_ROOT_X, _ROOT_Y, _ROOT_Z = (k * _STRIDE for k in range(8, 11))
_LIGHTNESS, _RED, _YELLOW, _EDGES, _POINTS = (k * _STRIDE for k in range(11, 16))
_SET = 16 * _STRIDE
_VALUES, _COUNTS = 2 * _SET, 2 * _SET + _STRIDE
_SINGLES = _DOWN * _STRIDE + 2 * _SET + 2 * _STRIDE

# The indices of filters among the taps; 0 to 3 are luminance, red-green and the two of blue-yellow.
_GAUSSIAN, _EDGE, _POINT, _EDGE_BACKWARDS = 4, 5, 6, 7
# (source row, filter, result row) of each filter pass: colours down the columns, the results of that along
# the rows; slopes down, the results of that along.
_COLORS_DOWN = np.array(
    [(0, 0, 0), (1, 1, 1), (2, 2, 2), (2, 3, 3), (0, _GAUSSIAN, 4), (0, _EDGE, 5), (0, _POINT, 6)]
)
_COLORS_ALONG = np.array(
    [(k, k, k) for k in range(4)] + [(4, _EDGE, 4), (4, _POINT, 5), (5, _GAUSSIAN, 6), (6, _GAUSSIAN, 7)]
)
_SLOPES_DOWN = np.array(
    [(k, k, k) for k in range(3)]
    + [(2, 3, 3), (3, _GAUSSIAN, 4), (4, _GAUSSIAN, 5), (5, _EDGE_BACKWARDS, 6), (6, _POINT, 7)]
)
_SLOPES_ALONG = np.array(
    [(k, k, k) for k in range(4)] + [(4, _EDGE_BACKWARDS, 4), (5, _POINT, 5), (6, _GAUSSIAN, 6)]
)

_ZERO, _HALF, _ONE, _TWO = (np.float32(number) for number in (0, 0.5, 1, 2))
# As in the plain formula.
_LEAST_SQUARE, _LEAST_DIFFERENCE = np.float32(1e-12), np.float32(1e-6)
_COLOR_EXPONENT = np.float32(0.7 - 1)
_LOST_SHARE = np.float32(1 - 0.7)
_PER_LARGEST = np.float32(203.3016546**-0.7)
_COMMON_SHARE = np.float32(0.4)
_COMMON_SLOPE, _RARE_SLOPE = np.float32(0.95 / 0.4), np.float32((1 - 0.95) / (1 - 0.4))
_PER_ROOT_2 = np.float32(0.5**0.5)
_BEND = np.float32(6 / 29)
_BEND_CUBED = np.float32((6 / 29) ** 3)
_TANGENT, _TANGENT_START = np.float32(1 / (3 * (6 / 29) ** 2)), np.float32(4 / 29)
_THIRD = np.float32(1 / 3)
_CURVE_START, _LINE_SLOPE = np.float32(0.04045), np.float32(1 / 12.92)
_CURVE_SHIFT, _CURVE_SCALE = np.float32(0.055 / 1.055), np.float32(1 / 1.055)
_CURVE_POWER, _CURVE_SLOPE_POWER, _CURVE_SLOPE = (np.float32(number) for number in (2.4, 1.4, 2.4 / 1.055))
_HUNT = np.float32(0.01)
_L, _L_OFFSET, _A, _B = (np.float32(number) for number in (116, 16, 500, 200))


@dataclass(frozen=True)
class Filters:
    """FLIP's one-dimensional filters, all of odd lengths, and its matrices.

    Sensitivities: luminance, red-green, and the two whose sum is blue-yellow. Features: a Gaussian, edges,
    points. The matrices convert linear RGB to X, Y, Z as shares of white's, and back.
    """

    sensitivities: tuple[tuple[float, ...], ...]
    features: tuple[tuple[float, ...], ...]
    to_shares: tuple[tuple[float, ...], ...]
    to_rgb: tuple[tuple[float, ...], ...]


def _filter(step: int, balanced: bool) -> Callable[..., None]:
    """A filter over rows that lie `step` numbers apart (or, with 1, along a row).

    A balanced filter's taps sum to 0. It is computed as a sum of differences, so that a flat picture gives
    exactly 0 and not a rounding error, of which feature differences would take the square root.
    """

    @inlined
    def filtered(
        rows: Reals, taps: Reals, sign: Real, groups: int, reach: int, result: Reals, width: int
    ) -> None:
        """`reach` is the index of the filter's middle in the rows. See `_tables` for the other arguments."""
        centre, below, above = (
            rows[reach * step :],
            rows[(reach - _PAIRS) * step :],
            rows[(reach + 1) * step :],
        )
        tap, tap1, tap2, tap3, tap4, tap5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
        for j in range(width):
            lost = centre[j] + centre[j] if balanced else _ZERO
            result[j] = (
                (_ZERO if balanced else tap * centre[j])
                + tap1 * (above[j] + sign * below[j + 4 * step] - lost)
                + tap2 * (above[j + step] + sign * below[j + 3 * step] - lost)
                + tap3 * (above[j + 2 * step] + sign * below[j + 2 * step] - lost)
                + tap4 * (above[j + 3 * step] + sign * below[j + step] - lost)
                + tap5 * (above[j + 4 * step] + sign * below[j] - lost)
            )
        for group in range(1, groups):
            first = group * _PAIRS + 1
            below, above = rows[(reach - first - _PAIRS + 1) * step :], rows[(reach + first) * step :]
            tap1, tap2, tap3 = taps[first], taps[first + 1], taps[first + 2]
            tap4, tap5 = taps[first + 3], taps[first + 4]
            for j in range(width):
                lost = centre[j] + centre[j] if balanced else _ZERO
                result[j] += (
                    tap1 * (above[j] + sign * below[j + 4 * step] - lost)
                    + tap2 * (above[j + step] + sign * below[j + 3 * step] - lost)
                    + tap3 * (above[j + 2 * step] + sign * below[j + 2 * step] - lost)
                    + tap4 * (above[j + 3 * step] + sign * below[j + step] - lost)
                    + tap5 * (above[j + 4 * step] + sign * below[j] - lost)
                )

    return filtered


def _filters(step: int) -> Callable[..., None]:
    """A function that runs all filter passes of a table, one after the other."""
    usual, balanced = _filter(step, balanced=False), _filter(step, balanced=True)

    @inlined
    def all_filtered(
        jobs: Reals, rows: Reals, taps: Reals, signs: Reals, groups: Reals, results: Reals, width: int
    ) -> None:
        reach = taps.shape[1] - 1
        for job in range(jobs.shape[0]):
            source, kind = rows[jobs[job, 0] * _STRIDE :], jobs[job, 1]
            result = results[jobs[job, 2] * _STRIDE :]
            if kind == _POINT:
                balanced(source, taps[kind], signs[kind], groups[kind], reach, result, width)
            else:
                usual(source, taps[kind], signs[kind], groups[kind], reach, result, width)

    return all_filtered


_filtered_down = _filters(_STEP)
_filtered_along = _filters(1)


@inlined
def _filtered_at_end(jobs: Reals, rows: Reals, ends: Reals, results: Reals, width: int) -> None:
    """`_filtered_down` for the first or last row of the gradient, whose filters are not symmetric."""
    for job in range(jobs.shape[0]):
        source, kind, result = jobs[job, 0], jobs[job, 1], jobs[job, 2]
        for k in range(ends.shape[1]):
            tap = ends[kind, k]
            row, total = rows[k * _STEP + source * _STRIDE :], results[result * _STRIDE :]
            for j in range(width):
                total[j] = (total[j] if k > 0 else _ZERO) + tap * row[j]


@inlined
def _add(result: Reals, other: Reals, width: int) -> None:
    for j in range(width):
        result[j] += other[j]


@inlined
def _to_light(values: Reals, light: Reals, width: int) -> None:
    """sRGB to linear light."""
    for j in range(width):
        value = min(max(values[j], _ZERO), _ONE)
        curved = exp(_CURVE_POWER * log(max(value, _CURVE_START) * _CURVE_SCALE + _CURVE_SHIFT))
        light[j] = curved if value > _CURVE_START else value * _LINE_SLOPE


@inlined
def _light_slopes(values: Reals, slopes: Reals, width: int) -> None:
    """The derivatives of linear light by sRGB values, 0 beyond black and white."""
    for j in range(width):
        value = values[j]
        base = max(value, _CURVE_START) * _CURVE_SCALE + _CURVE_SHIFT
        curved = _CURVE_SLOPE * exp(_CURVE_SLOPE_POWER * log(base))
        slope = curved if value > _CURVE_START else _LINE_SLOPE
        slopes[j] = slope if abs(value - _HALF) <= _HALF else _ZERO


@inlined
def _mix(light: Reals, colors: Reals, matrix: Reals, width: int) -> None:
    """Linear light to opponent colours, by differences from green: the chroma of grey is exactly 0."""
    m00, m02 = matrix[0, 0], matrix[0, 2]
    m10, m12 = matrix[1, 0], matrix[1, 2]
    m20, m22 = matrix[2, 0], matrix[2, 2]
    for j in range(width):
        green = light[j + _STRIDE]
        red, blue = light[j] - green, light[j + 2 * _STRIDE] - green
        colors[j] = green + (m00 * red + m02 * blue)
        colors[j + _STRIDE] = m10 * red + m12 * blue
        colors[j + 2 * _STRIDE] = m20 * red + m22 * blue


@inlined
def _repeat_ends(row: Reals, before: int, width: int, total: int) -> None:
    """Pad `width` numbers of a row on both sides with the first and the last of them."""
    for j in range(before):
        row[j] = row[before]
    for j in range(before + width, total):
        row[j] = row[before + width - 1]


@inlined
def _root(share: Real) -> Real:
    return (
        exp(_THIRD * log(max(share, _BEND_CUBED)))
        if share > _BEND_CUBED
        else share * _TANGENT + _TANGENT_START
    )


@inlined
def _to_lab(seen: Reals, matrices: Reals, width: int) -> None:
    """A picture's blurred opponent colours to Hunt-adjusted CIELAB, and its features to strengths."""
    p01, p02 = matrices[1, 0, 1], matrices[1, 0, 2]
    p11, p12 = matrices[1, 1, 1], matrices[1, 1, 2]
    p21, p22 = matrices[1, 2, 1], matrices[1, 2, 2]
    m00, m02 = matrices[2, 0, 0], matrices[2, 0, 2]
    m10, m12 = matrices[2, 1, 0], matrices[2, 1, 2]
    m20, m22 = matrices[2, 2, 0], matrices[2, 2, 2]
    for j in range(width):
        luminance, red_green = seen[j + _LUMINANCE], seen[j + _RED_GREEN]
        blue_yellow = seen[j + _BLUE_YELLOW] + seen[j + _BLUE_YELLOW_2]
        red = min(max(luminance + p01 * red_green + p02 * blue_yellow, _ZERO), _ONE)
        green = min(max(luminance + p11 * red_green + p12 * blue_yellow, _ZERO), _ONE)
        blue = min(max(luminance + p21 * red_green + p22 * blue_yellow, _ZERO), _ONE)
        # By differences from green, again so that the chroma of grey is exactly 0.
        red, blue = red - green, blue - green
        seen[j + _ROOT_X] = _root(green + (m00 * red + m02 * blue))
        seen[j + _ROOT_Y] = _root(green + (m10 * red + m12 * blue))
        seen[j + _ROOT_Z] = _root(green + (m20 * red + m22 * blue))
    for j in range(width):
        x, y, z = seen[j + _ROOT_X], seen[j + _ROOT_Y], seen[j + _ROOT_Z]
        lightness = _L * y - _L_OFFSET
        seen[j + _LIGHTNESS] = lightness
        seen[j + _RED] = _HUNT * lightness * (_A * (x - y))
        seen[j + _YELLOW] = _HUNT * lightness * (_B * (y - z))
        edges = seen[j + _EDGE_X] * seen[j + _EDGE_X] + seen[j + _EDGE_Y] * seen[j + _EDGE_Y]
        points = seen[j + _POINT_X] * seen[j + _POINT_X] + seen[j + _POINT_Y] * seen[j + _POINT_Y]
        seen[j + _EDGES] = edges / np.sqrt(edges + _LEAST_SQUARE)
        seen[j + _POINTS] = points / np.sqrt(points + _LEAST_SQUARE)


@inlined
def _sign(value: Real) -> Real:
    return np.float32(value > _ZERO) - np.float32(value < _ZERO)


@inlined
def _compare(seen: Reals, width: int) -> None:
    """FLIP, and its derivatives by the input's colours and feature strengths.

    The derivatives overwrite the target's colours and strengths, which are no longer needed.
    """
    for j in range(width):
        lightness = seen[j + _LIGHTNESS] - seen[j + _SET + _LIGHTNESS]
        red = seen[j + _RED] - seen[j + _SET + _RED]
        yellow = seen[j + _YELLOW] - seen[j + _SET + _YELLOW]
        square = red * red + yellow * yellow
        per_chroma = _ONE / np.sqrt(square + _LEAST_SQUARE)
        distance = abs(lightness) + square * per_chroma
        chroma_slope = per_chroma * (_TWO - square * per_chroma * per_chroma)
        away = distance + _LEAST_DIFFERENCE
        power = _PER_LARGEST * exp(_COLOR_EXPONENT * log(away))
        share = distance * power
        common = min(share, _COMMON_SHARE)
        color = _COMMON_SLOPE * common + _RARE_SLOPE * (share - common)
        color_slope = (_COMMON_SLOPE if share <= _COMMON_SHARE else _RARE_SLOPE) * power
        color_slope = color_slope * (_ONE - _LOST_SHARE * distance / away)

        edges = seen[j + _EDGES] - seen[j + _SET + _EDGES]
        points = seen[j + _POINTS] - seen[j + _SET + _POINTS]
        edges_count = np.float32(abs(edges) >= abs(points))
        larger = _PER_ROOT_2 * max(abs(edges), abs(points))
        per_feature = _ONE / np.sqrt(larger + _LEAST_DIFFERENCE)
        feature = larger * per_feature
        feature_slope = per_feature * (_ONE - _HALF * feature * per_feature)

        visible = color + _LEAST_DIFFERENCE
        logarithm = log(visible)
        pronounced = exp(-feature * logarithm)
        value = color * pronounced
        by_distance = pronounced * (_ONE - feature * color / visible) * color_slope
        by_strength = -_PER_ROOT_2 * value * logarithm * feature_slope
        seen[j + _VALUES] = value
        seen[j + _SET + _LIGHTNESS] = by_distance * _sign(lightness)
        seen[j + _SET + _RED] = by_distance * chroma_slope * red
        seen[j + _SET + _YELLOW] = by_distance * chroma_slope * yellow
        seen[j + _SET + _EDGES] = by_strength * edges_count * _sign(edges)
        seen[j + _SET + _POINTS] = by_strength * (_ONE - edges_count) * _sign(points)


@inlined
def _pull_back(seen: Reals, rows: Reals, matrices: Reals, width: int) -> None:
    """The backward pass of `_to_lab`: the derivatives by the filters' results, times each pixel's weight."""
    p01, p02 = matrices[1, 0, 1], matrices[1, 0, 2]
    p11, p12 = matrices[1, 1, 1], matrices[1, 1, 2]
    p21, p22 = matrices[1, 2, 1], matrices[1, 2, 2]
    m00, m01, m02 = matrices[2, 0, 0], matrices[2, 0, 1], matrices[2, 0, 2]
    m10, m11, m12 = matrices[2, 1, 0], matrices[2, 1, 1], matrices[2, 1, 2]
    m20, m21, m22 = matrices[2, 2, 0], matrices[2, 2, 1], matrices[2, 2, 2]
    for j in range(width):
        count = seen[j + _COUNTS]
        x, y, z = seen[j + _ROOT_X], seen[j + _ROOT_Y], seen[j + _ROOT_Z]
        by_red, by_yellow = _HUNT * count * seen[j + _SET + _RED], _HUNT * count * seen[j + _SET + _YELLOW]
        by_lightness = count * seen[j + _SET + _LIGHTNESS]
        by_lightness += by_red * (_A * (x - y)) + by_yellow * (_B * (y - z))
        lightness = _L * y - _L_OFFSET
        by_a, by_b = _A * lightness * by_red, _B * lightness * by_yellow
        x, y, z = max(x, _BEND), max(y, _BEND), max(z, _BEND)
        by_x = _THIRD * by_a / (x * x)
        by_y = _THIRD * (_L * by_lightness - by_a + by_b) / (y * y)
        by_z = -_THIRD * by_b / (z * z)

        luminance, red_green = seen[j + _LUMINANCE], seen[j + _RED_GREEN]
        blue_yellow = seen[j + _BLUE_YELLOW] + seen[j + _BLUE_YELLOW_2]
        red = luminance + p01 * red_green + p02 * blue_yellow
        green = luminance + p11 * red_green + p12 * blue_yellow
        blue = luminance + p21 * red_green + p22 * blue_yellow
        by_red = m00 * by_x + m10 * by_y + m20 * by_z if abs(red - _HALF) <= _HALF else _ZERO
        by_green = m01 * by_x + m11 * by_y + m21 * by_z if abs(green - _HALF) <= _HALF else _ZERO
        by_blue = m02 * by_x + m12 * by_y + m22 * by_z if abs(blue - _HALF) <= _HALF else _ZERO
        rows[j] = by_red + by_green + by_blue
        rows[j + _STRIDE] = p01 * by_red + p11 * by_green + p21 * by_blue
        rows[j + 2 * _STRIDE] = p02 * by_red + p12 * by_green + p22 * by_blue
    for j in range(width):
        count = seen[j + _COUNTS]
        edge_x, edge_y = seen[j + _EDGE_X], seen[j + _EDGE_Y]
        point_x, point_y = seen[j + _POINT_X], seen[j + _POINT_Y]
        edges = edge_x * edge_x + edge_y * edge_y
        points = point_x * point_x + point_y * point_y
        per_edge, per_point = _ONE / np.sqrt(edges + _LEAST_SQUARE), _ONE / np.sqrt(points + _LEAST_SQUARE)
        by_edge = count * seen[j + _SET + _EDGES] * per_edge * (_TWO - edges * per_edge * per_edge)
        by_point = count * seen[j + _SET + _POINTS] * per_point * (_TWO - points * per_point * per_point)
        rows[j + _EDGE_DOWN] = by_edge * edge_y
        rows[j + _POINT_DOWN] = by_point * point_y
        rows[j + _EDGE_ALONG] = by_edge * edge_x
        rows[j + _POINT_ALONG] = by_point * point_x


@inlined
def _clear(rows: Reals, kinds: int, width: int) -> None:
    for kind in range(kinds):
        row = rows[kind * _STRIDE :]
        for j in range(width):
            row[j] = _ZERO


@inlined
def _weigh(counts: Reals, factor: Real, shares: Reals, width: int) -> None:
    for j in range(width):
        shares[j] = factor * counts[j]


@inlined
def _total(values: Reals, width: int) -> Real:
    result = _ZERO
    for j in range(width):
        result += values[j]
    return result


@inlined
def _counted_total(values: Reals, counts: Reals, width: int) -> Real:
    result = _ZERO
    for j in range(width):
        result += counts[j] * values[j]
    return result


@inlined
def _gather(seen: Reals, width: int) -> None:
    """Add up the backward filters' results: the derivatives by opponent colours, in the first three rows."""
    for j in range(width):
        seen[j] = seen[j] + seen[j + _EDGE_X] + seen[j + _POINT_X] + seen[j + _EDGE_Y]
        seen[j + 2 * _STRIDE] = seen[j + 2 * _STRIDE] + seen[j + 3 * _STRIDE]


@inlined
def _settle(slopes: Reals, matrix: Reals, gradient: Reals, width: int) -> None:
    """Multiply a channel's gradient, so far the slope of its light, by the derivative by that light."""
    one, two, three = matrix[0], matrix[1], matrix[2]
    for j in range(width):
        by_light = one * slopes[j] + two * slopes[j + _STRIDE] + three * slopes[j + 2 * _STRIDE]
        gradient[j] *= by_light


@inlined
def _keep_overlap(scratch: Reals, overlap: int, strip: int, width: int) -> None:
    """Copy the last rows of a strip to the top of the scratch, where the next strip begins with them."""
    for i in range(overlap):
        for kind in range(_KINDS):
            row = scratch[i * _STEP + kind * _STRIDE :]
            later = scratch[(i + strip) * _STEP + kind * _STRIDE :]
            for j in range(width):
                row[j] = later[j]


@inlined
def _to_colors(
    pixels: Reals, row: int, first: int, lead: int, width: int, light: Reals, colors: Reals, matrix: Reals
) -> None:
    """Convert a row of a picture, (C, H, W), to opponent colours, and repeat its ends outwards."""
    channels, inside = pixels.shape[0], min(width - lead, pixels.shape[2] - first)
    for channel in range(3):
        _to_light(pixels[min(channel, channels - 1), row, first:], light[channel * _STRIDE :], inside)
    _mix(light, colors[lead:], matrix, inside)
    for kind in range(3):
        _repeat_ends(colors[kind * _STRIDE :], lead, inside, width)


@inlined
def _fold(slopes: Reals, reach: int, width: int, first: bool, last: bool) -> None:
    """Add the slopes of pixels outside the picture to those of its border, which these pixels repeat."""
    for kind in range(3):
        row = slopes[kind * _STRIDE :]
        if first:
            row[reach] += _total(row, reach)
        if last:
            row[reach + width - 1] += _total(row[reach + width :], reach)


@compiled
def _tile(  # noqa: C901 - its parts are functions
    input: Reals,
    target: Reals,
    counts: Reals,
    gradient: Reals,
    scratch: Reals,
    taps: Reals,
    signs: Reals,
    groups: Reals,
    ends: Reals,
    matrices: Reals,
    factor: Real,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> Real:
    """The (weighted) sum of FLIP over rows top to bottom and columns left to right of a picture, (C, H, W).

    `counts`, (H, W), is each pixel's weight; it is empty without weights. `gradient`, (C, H, W), gets the
    tile's part of the whole sum's gradient times `factor`, unless it has no elements. See `_tables` for the
    other arrays.
    """
    channels, height, width = input.shape
    reach = taps.shape[1] - 1
    sloped = gradient.size > 0
    own = right - left
    # The rows and columns whose slopes reach the tile through the filters, and the offsets of these columns
    # in rows of slopes and of colours; both kinds of rows have a margin as wide as the filters' reach.
    surroundings = reach if sloped else 0
    first_row, last_row = max(top - surroundings, 0), min(bottom + surroundings, height)
    first_column, columns = max(left - reach, 0), min(right + reach, width) - max(left - reach, 0)
    lead = left - first_column
    slope_lead, slope_columns = 2 * reach - lead, own + 4 * reach
    first_color, color_columns = max(first_column - reach, 0), columns + 2 * reach
    color_lead = first_color - (first_column - reach)

    strip_rows = (scratch.size - _SINGLES) // _STEP - 2 * reach
    down = scratch[scratch.size - _SINGLES :]
    seen = down[_DOWN * _STRIDE :]
    seen[_COUNTS : _COUNTS + columns] = factor
    for i in range(2 * reach + strip_rows):
        _clear(scratch[i * _STEP + _SLOPES * _STRIDE :], _KINDS - _SLOPES, slope_columns)

    result = 0.0
    filled = 0
    for start in range(first_row, bottom + surroundings, strip_rows):
        strip = min(strip_rows, bottom + surroundings - start)
        for i in range(filled, min(strip, last_row - start) + 2 * reach):
            row = min(max(start - reach + i, 0), height - 1)
            for picture in range(2):
                _to_colors(
                    input if picture == 0 else target,
                    row,
                    first_color,
                    color_lead,
                    color_columns,
                    down,
                    scratch[i * _STEP + 3 * picture * _STRIDE :],
                    matrices[0],
                )
            if sloped and top <= row < bottom:
                for channel in range(channels):
                    _light_slopes(input[channel, row, left:], gradient[channel, row, left:], own)

        for i in range(strip):
            slopes = scratch[(2 * reach + i) * _STEP + _SLOPES * _STRIDE :]
            row = start + i
            if row >= last_row:
                _clear(slopes, _KINDS - _SLOPES, slope_columns)
                continue
            for picture in range(2):
                colors, along = scratch[i * _STEP + 3 * picture * _STRIDE :], seen[picture * _SET :]
                _filtered_down(_COLORS_DOWN, colors, taps, signs, groups, down, color_columns)
                _filtered_along(_COLORS_ALONG, down, taps, signs, groups, along, columns)
                _to_lab(along, matrices, columns)
            _compare(seen, columns)
            if counts.size > 0:
                _weigh(counts[row, first_column:], factor, seen[_COUNTS:], columns)
            if top <= row < bottom:
                values = seen[_VALUES + lead :]
                if counts.size > 0:
                    result += _counted_total(values, counts[row, left:], own)
                else:
                    result += _total(values, own)
            if sloped:
                _pull_back(seen, slopes[slope_lead:], matrices, columns)

        for i in range(strip if sloped else 0):
            row = start - reach + i
            if not top <= row < bottom:
                continue
            slopes = scratch[i * _STEP + _SLOPES * _STRIDE :]
            if 0 < row < height - 1:
                _filtered_down(_SLOPES_DOWN, slopes, taps, signs, groups, down, slope_columns)
            else:
                _filtered_at_end(_SLOPES_DOWN, slopes, ends[min(row, 1)], down, slope_columns)
            _add(down[6 * _STRIDE :], down[7 * _STRIDE :], slope_columns)
            _filtered_along(_SLOPES_ALONG, down, taps, signs, groups, seen, own + 2 * reach)
            _gather(seen, own + 2 * reach)
            _fold(seen, reach, own, left == 0, right == width)
            for channel in range(channels):
                _settle(seen[reach:], matrices[3, channel], gradient[channel, row, left:], own)

        _keep_overlap(scratch, 2 * reach, strip, slope_columns)
        filled = 2 * reach
    return result


def flip(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, filters: Filters
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean of FLIP, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    pictures = (input.numpy(), target.numpy())
    counts = np.zeros((n, 0, 0), np.float32) if weight is None else weight[:, 0].numpy()
    totals = np.full(n, float(height * width))
    if weight is not None:
        totals = counts.sum(axis=(1, 2), dtype=np.float64)
        totals = np.where(totals > np.finfo(np.float32).tiny, totals, np.inf)
    gradient = None if scale is None else torch.empty_like(input)
    slopes = np.zeros((n, 0, 0, 0), np.float32) if gradient is None else gradient.numpy()
    factors = ((scale or 0) / totals).astype(np.float32)
    tables = _tables(filters, channels, height)
    reach = tables[0].shape[1] - 1
    bands, blocks = even_parts_up_to(height, _TILE_HEIGHT), even_parts_up_to(width, _STRIDE - 4 * reach)
    tiles = [(picture, *band, *block) for picture, band, block in product(range(n), bands, blocks)]
    sums = np.zeros(len(tiles))

    def worker() -> Work:
        scratch = np.zeros((_STRIP + 2 * reach) * _STEP + _SINGLES, np.float32)

        def work(tile: int) -> None:
            picture, *corners = tiles[tile]
            sums[tile] = _tile(
                pictures[0][picture], pictures[1][picture], counts[picture], slopes[picture],
                scratch, *tables, factors[picture], *corners,
            )  # fmt: skip

        return work

    run_tiles(len(tiles), worker)
    values = sums.reshape(n, -1).sum(axis=1) / totals
    return torch.from_numpy(values.astype(np.float32)), gradient


def _rounded(reach: int) -> int:
    return -(-reach // _PAIRS) * _PAIRS


def _tables(
    filters: Filters, channels: int, height: int
) -> tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]
]:
    """The filters and colour matrices as the arrays that `_tile` takes.

    taps: The right halves of the filters, from their middles, (8, reach + 1): the sensitivities, the
        features, the backward edge filter.
    signs: 1 or -1 where a filter's left half mirrors or negates its right half, (8,).
    groups: How many groups of `_PAIRS` taps a half has, zeros beyond them left out, (8,).
    ends: For the first and the last row of a picture, the factor with which each row from `reach` before to
        `reach` after it adds to its gradient, (2, 8, 2 reach + 1): the border row also gets what belongs to
        its repetitions beyond the border.
    matrices: Linear light to opponent colours; these back to light; light to X, Y, Z as shares of white's;
        slopes by opponent colours to those by each channel, (4, 3, 3).
    """
    halves = [np.array(_trimmed(kernel)) for kernel in filters.sensitivities]
    halves += [np.array(kernel[len(kernel) // 2 :]) for kernel in filters.features]
    reach = _rounded(max(len(half) - 1 for half in halves))
    taps = np.zeros((8, reach + 1))
    groups = np.ones(8, np.int64)
    for k, half in enumerate(halves):
        taps[k, : len(half)] = half
        groups[k] = max(-(-(len(half) - 1) // _PAIRS), 1)
    taps[_EDGE_BACKWARDS], groups[_EDGE_BACKWARDS] = -taps[_EDGE], groups[_EDGE]
    signs = np.array([1, 1, 1, 1, 1, -1, 1, -1])

    ends = np.zeros((2, 8, 2 * reach + 1))
    for k in range(8):
        whole = np.concatenate([signs[k] * taps[k, :0:-1], taps[k]])
        ends[0, k], ends[1, k] = np.cumsum(whole[::-1])[::-1], np.cumsum(whole)
        if height == 1:
            ends[:, k] = whole.sum()

    to_shares, to_rgb = np.array(filters.to_shares), np.array(filters.to_rgb)
    shares_to_opponents = np.array([[0, 1, 0], [1, -1, 0], [0, 1, -1]])
    opponents_to_shares = np.linalg.inv(shares_to_opponents)
    to_opponents = shares_to_opponents @ to_shares
    back = to_opponents.T if channels == 3 else np.tile(to_opponents.sum(axis=1), (3, 1))
    matrices = np.stack([to_opponents, to_rgb @ opponents_to_shares, to_shares, back])
    single = np.float32
    return taps.astype(single), signs.astype(single), groups, ends.astype(single), matrices.astype(single)


def _trimmed(kernel: Sequence[float]) -> list[float]:
    """The right half of a Gaussian from its middle, with negligible tails cut and the sum kept."""
    half = list(kernel[len(kernel) // 2 :])
    total = sum(kernel)
    while len(half) > 1 and 2 * half[-1] < _TAIL * total:
        half.pop()
    left = half[0] + 2 * sum(half[1:])
    return [tap * total / left for tap in half]
