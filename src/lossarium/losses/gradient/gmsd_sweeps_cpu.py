"""Sweeps over one level of a pair of pictures, for GMSD (gradient magnitude similarity deviation).

A level holds x and the error e = x - y instead of x and y. The difference of the gradient magnitudes is
computed from e, gx - gy = (|grad x|^2 - |grad y|^2) / (gx + gy) = (grad e) (2 grad x - grad e) / (gx + gy),
so that no digits are lost where the pictures are alike.

x is averaged and differenced in float64, all else in float32. Where the gradient of x is nearly 0, the loss's
gradient is as large as elsewhere and points along grad x, whose direction would be rounding error in float32.

Prewitt gradients are not divided by 3. To make up for it, c and the root's epsilon are multiplied by 9.
"""

import numpy as np

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.rows import copy
from lossarium.compute.tiling import rows_that_fit
from lossarium.losses.gradient.constants import ROOT_EPSILON

Tile = tuple[int, int, int, int, int, int, int]
"""First and last plane, the tile's index within a plane, top and bottom row, left and right column."""

_STEEPNESS_EPSILON = np.float32(9 * ROOT_EPSILON)
_ZERO, _QUARTER, _HALF, _ONE, _TWO = (np.float32(number) for number in (0, 0.25, 0.5, 1, 2))

# The size of a tile in pixels: even, so that no 2x2 block is split between tiles. It is the same on every
# machine, since each tile has sums of its own.
TILE_HEIGHT, TILE_WIDTH = 256, 512

# A tile is swept in strips of up to this many rows, an even number (see `strip_rows`). The scratch has parts,
# each a strip's rows with two more on every side, at constant offsets: so the compiler can prove that the
# rows written are not the rows read, and uses vector instructions. The row stride is 33 cache lines, an odd
# number, so that rows do not compete for the same sets of the cache.
_STRIP = 32
_STRIDE = 528
PART_SIZE = (_STRIP + 4) * _STRIDE
_ACROSS, _DOWN, _COUNTS, _SINGLE_ROWS = (part * PART_SIZE for part in range(1, 5))
_DISSIMILARITIES = _ACROSS
SCRATCH_SIZE = _SINGLE_ROWS + 2 * _STRIDE
_BELOW = 2 * _STRIDE
# Bytes of a pixel in the scratch: x in float64; the error, two derivatives and the counts in float32.
_PIXEL_BYTES = 8 + 4 * 4


def strip_rows(width: int) -> int:
    """Rows in a strip of a tile of up to `width` columns, such that its scratch fits a core's L2 cache."""
    return rows_that_fit(_PIXEL_BYTES * (min(width, TILE_WIDTH) + 4), 4, _STRIP)


@inlined
def _load(
    x: Reals, y: Reals, shares: Reals | None,
    row: int, left: int, right: int, exact: Reals, rows: Reals,
) -> None:  # fmt: skip
    """Load columns left to right of a row: the channels' mean and that of the error, 0 outside the plane.

    With `shares` None, x and y already are that mean and that error.
    """
    first, last = max(left, 0), min(right, x.shape[2])
    if row < 0 or row >= x.shape[1]:
        first, last = right, right
    columns, lead = last - first, first - left
    _clear(exact, rows, 0, lead)
    _clear(exact, rows, lead + columns, right - left)
    if columns == 0:
        return
    mean, error = exact[lead:], rows[lead:]
    if shares is None:
        copy(x[0, row, first:last], mean, columns)
        copy(y[0, row, first:last], error, columns)
    else:
        _mix(x, y, shares, row, first, last, mean, error)


@inlined
def _clear(exact: Reals, rows: Reals, first: int, last: int) -> None:
    for j in range(first, last):
        exact[j] = _ZERO
        rows[j] = _ZERO


@inlined
def _mix(
    x: Reals, y: Reals, shares: Reals, row: int, first: int, last: int, mean: Reals, error: Reals
) -> None:
    """The channels' mean, in float64, and that of the error, in float32."""
    channels, columns = x.shape[0], last - first
    a, b, s, t = x[0, row, first:last], y[0, row, first:last], shares[0], np.float32(shares[0])
    if channels == 3:
        a1, b1, s1, t1 = x[1, row, first:last], y[1, row, first:last], shares[1], np.float32(shares[1])
        a2, b2, s2, t2 = x[2, row, first:last], y[2, row, first:last], shares[2], np.float32(shares[2])
        for j in range(columns):
            mean[j] = s * a[j] + s1 * a1[j] + s2 * a2[j]
        for j in range(columns):
            error[j] = t * (a[j] - b[j]) + t1 * (a1[j] - b1[j]) + t2 * (a2[j] - b2[j])
        return
    for j in range(columns):
        mean[j] = s * a[j]
    for j in range(columns):
        error[j] = t * (a[j] - b[j])
    for channel in range(1, channels):
        a, b = x[channel, row, first:last], y[channel, row, first:last]
        s, t = shares[channel], np.float32(shares[channel])
        for j in range(columns):
            mean[j] += s * a[j]
        for j in range(columns):
            error[j] += t * (a[j] - b[j])


@inlined
def _across(rows: Reals, j: int) -> Real:
    """The Prewitt derivative along the rows, times 3, at the centre of the 3x3 numbers that begin at `j`."""
    return (
        (rows[j + 2] - rows[j])
        + (rows[j + _STRIDE + 2] - rows[j + _STRIDE])
        + (rows[j + _BELOW + 2] - rows[j + _BELOW])
    )


@inlined
def _down(rows: Reals, j: int) -> Real:
    """The Prewitt derivative down the columns, times 3."""
    return (
        (rows[j + _BELOW] - rows[j])
        + (rows[j + _BELOW + 1] - rows[j + 1])
        + (rows[j + _BELOW + 2] - rows[j + 2])
    )


@inlined
def _compare(
    across: Real, down: Real, error_across: Real, error_down: Real, c: Real, alpha: Real
) -> tuple[Real, Real, Real]:
    """1 - GMS, its derivative by gx, and gx."""
    y_across, y_down = across - error_across, down - error_down
    steepness = np.sqrt(across * across + down * down + _STEEPNESS_EPSILON)
    other = np.sqrt(y_across * y_across + y_down * y_down + _STEEPNESS_EPSILON)
    squares_differ = error_across * (across + y_across) + error_down * (down + y_down)
    difference = squares_differ / (steepness + other)
    masked = (_TWO - alpha) * other
    alike = masked * steepness + c
    share = _ONE / (difference * difference + alike)
    dissimilarity = difference * difference * share
    slope = (_TWO * difference * alike * share - dissimilarity * masked) * share
    return dissimilarity, slope, steepness


@inlined
def _steepen(exact: Reals, rows: Reals, columns: int) -> None:
    """Store the Prewitt derivatives of x in a row."""
    for j in range(columns):
        rows[j + _ACROSS] = _across(exact, j)
        rows[j + _DOWN] = _down(exact, j)


@inlined
def _dissimilarities(rows: Reals, c: Real, alpha: Real, columns: int) -> None:
    for j in range(columns):
        rows[j + _DISSIMILARITIES] = _compare(
            rows[j + _ACROSS], rows[j + _DOWN], _across(rows, j), _down(rows, j), c, alpha
        )[0]


@inlined
def _slopes(rows: Reals, mean: Real, c: Real, alpha: Real, columns: int) -> None:
    """Replace a row's Prewitt derivatives of x by the (weighted) variance's derivatives by them."""
    for j in range(columns):
        across, down = rows[j + _ACROSS], rows[j + _DOWN]
        dissimilarity, slope, steepness = _compare(across, down, _across(rows, j), _down(rows, j), c, alpha)
        pull = rows[j + _COUNTS] * (dissimilarity - mean) * slope / steepness
        rows[j + _ACROSS] = pull * across
        rows[j + _DOWN] = pull * down


@inlined
def _weigh(counts: Reals, row: int, first: int, last: int, factor: Real, rows: Reals) -> None:
    if counts.size > 0:
        _scale(counts[row, first:last], factor, rows[_COUNTS:], last - first)
    else:
        rows[_COUNTS : _COUNTS + last - first] = factor


@inlined
def _no_slopes(rows: Reals, columns: int) -> None:
    rows[_ACROSS : _ACROSS + columns] = _ZERO
    rows[_DOWN : _DOWN + columns] = _ZERO


@inlined
def _sum(counts: Reals, columns: int) -> float:
    result = 0.0
    for j in range(columns):
        result += float(counts[j])
    return result


@inlined
def _sum_counted(counts: Reals, values: Reals, columns: int) -> float:
    result = 0.0
    for j in range(columns):
        result += float(counts[j]) * float(values[j])
    return result


@inlined
def _sum_counted_squares(counts: Reals, values: Reals, columns: int) -> float:
    result = 0.0
    for j in range(columns):
        result += float(counts[j]) * (float(values[j]) * float(values[j]))
    return result


@inlined
def _halve(rows: Reals, quarter: Real, halved: Reals) -> None:
    """Average 2x2 blocks of two rows."""
    for j in range(halved.shape[0]):
        above = rows[2 * j] + rows[2 * j + 1]
        halved[j] = quarter * (above + (rows[2 * j + _STRIDE] + rows[2 * j + (_STRIDE + 1)]))


@inlined
def _halve_pictures(
    x: Reals,
    y: Reals,
    shares: Reals,
    top: int,
    bottom: int,
    left: int,
    right: int,
    half_x: Reals,
    half_error: Reals,
) -> None:
    """Average rows top to bottom and columns left to right of a finest plane to the coarser level."""
    height = x.shape[1]
    for i in range(top, bottom, 2):
        below = min(i + 1, height - 1)
        # An odd height is padded with zeros.
        share_below = 0.25 if i + 1 < height else 0.0
        mean, error = half_x[i // 2, left // 2 :], half_error[i // 2, left // 2 :]
        for channel in range(x.shape[0]):
            share = shares[channel]
            _halve_channel(
                x[channel, i, left:right], x[channel, below, left:right],
                y[channel, i, left:right], y[channel, below, left:right],
                0.25 * share, share_below * share, channel > 0, mean, error,
            )  # fmt: skip


@inlined
def _halve_channel(
    x: Reals, x_below: Reals, y: Reals, y_below: Reals,
    share: float, share_below: float, add: bool, mean: Reals, error: Reals,
) -> None:  # fmt: skip
    """Average one channel, in float64: it stays exact in whatever order the compiler adds and subtracts."""
    pairs = x.size // 2
    if not add:
        mean[: (x.size + 1) // 2] = 0.0
        error[: (x.size + 1) // 2] = _ZERO
    for j in range(pairs):
        above = np.float64(x[2 * j]) + np.float64(x[2 * j + 1])
        under = np.float64(x_below[2 * j]) + np.float64(x_below[2 * j + 1])
        mean[j] += share * above + share_below * under
    for j in range(pairs):
        above = np.float64(x[2 * j] - y[2 * j]) + np.float64(x[2 * j + 1] - y[2 * j + 1])
        under = np.float64(x_below[2 * j] - y_below[2 * j]) + np.float64(
            x_below[2 * j + 1] - y_below[2 * j + 1]
        )
        error[j] += np.float32(share * above + share_below * under)
    if x.size % 2 == 1:
        j = x.size - 1
        mean[pairs] += share * x[j] + share_below * x_below[j]
        error[pairs] += np.float32(share * (x[j] - y[j]) + share_below * (x_below[j] - y_below[j]))


@inlined
def _widen(coarse: Reals, row: Reals) -> None:
    """The adjoint of `_halve` for one of its two rows: a quarter of each number, written twice."""
    for j in range(coarse.shape[0]):
        row[2 * j] = _QUARTER * coarse[j]
        row[2 * j + 1] = _QUARTER * coarse[j]


@inlined
def _gather(rows: Reals, coarse: Reals, result: Reals, columns: int) -> None:
    """The derivatives by a row of pixels: of its own level, from three rows, plus those of coarser levels."""
    for j in range(columns):
        result[j] = coarse[j] - (_across(rows, j + _ACROSS) + _down(rows, j + _DOWN))


@inlined
def _scale(row: Reals, share: Real, gradient: Reals, columns: int) -> None:
    for j in range(columns):
        gradient[j] = share * row[j]


@compiled
def halve_counts(counts: Reals, halved: Reals, first: int, last: int) -> None:
    """Halve rows first to last of all pictures' rows; an odd side ends in means of fewer than 2x2 pixels."""
    height, width = counts.shape[1:]
    for row in range(first, last):
        picture, i = row // halved.shape[1], row % halved.shape[1]
        above, below = counts[picture, 2 * i], counts[picture, min(2 * i + 1, height - 1)]
        result = halved[picture, i]
        for j in range(width // 2):
            result[j] = _QUARTER * (above[2 * j] + above[2 * j + 1] + (below[2 * j] + below[2 * j + 1]))
        if width % 2 == 1:
            result[width // 2] = _HALF * (above[width - 1] + below[width - 1])


@compiled
def descend(
    x: Reals,
    y: Reals,
    shares: Reals | None,
    counts: Reals,
    planes_a_picture: int,
    coarser_x: Reals,
    coarser_error: Reals,
    sums: Reals,
    exact: Reals,
    scratch: Reals,
    c: Real,
    alpha: Real,
    strip_height: int,
    tile: Tile,
) -> None:
    """Sum a tile's (weighted) dissimilarities, their squares and weights; make its part of the coarser level.

    x and y are (planes, channels, H, W), `counts` is (pictures, H, W) or empty, the coarser level
    (planes, 1, H', W') or empty; `sums`, (planes, tiles, 3), is empty where this level is not compared.
    """
    first, last, place, top, bottom, left, right = tile
    columns, half_columns = right - left, slice(left // 2, (right + 1) // 2)
    compared = sums.size > 0
    for plane in range(first, last):
        if shares is not None and not compared:
            _halve_pictures(
                x[plane], y[plane], shares, top, bottom, left, right,
                coarser_x[plane, 0], coarser_error[plane, 0],
            )  # fmt: skip
            continue
        picture = plane // planes_a_picture
        total = squares = counted = 0.0
        for start in range(top, bottom, strip_height):
            strip = min(strip_height, bottom - start)
            for i in range(strip + 2) if compared else range(1, strip + 1 + strip % 2):
                row = start - 1 + i
                _load(
                    x[plane], y[plane], shares,
                    row, left - 1, right + 1, exact[i * _STRIDE :], scratch[i * _STRIDE :],
                )  # fmt: skip
            for i in range(strip if compared else 0):
                rows = scratch[i * _STRIDE :]
                _steepen(exact[i * _STRIDE :], rows, columns)
                _dissimilarities(rows, c, alpha, columns)
                _weigh(counts[picture], start + i, left, right, _ONE, rows)
                total += _sum_counted(rows[_COUNTS:], rows[_DISSIMILARITIES:], columns)
                squares += _sum_counted_squares(rows[_COUNTS:], rows[_DISSIMILARITIES:], columns)
                counted += _sum(rows[_COUNTS:], columns)
            for i in range(0, strip if coarser_x.size > 0 else 0, 2):
                half, at = (start + i) // 2, (i + 1) * _STRIDE + 1
                _halve(exact[at:], 0.25, coarser_x[plane, 0, half, half_columns])
                _halve(scratch[at:], _QUARTER, coarser_error[plane, 0, half, half_columns])
        if compared:
            sums[plane, place, 0], sums[plane, place, 1], sums[plane, place, 2] = total, squares, counted


@compiled
def ascend(
    x: Reals,
    y: Reals,
    shares: Reals | None,
    counts: Reals,
    planes_a_picture: int,
    coarser_gradient: Reals,
    gradient: Reals,
    means: Reals,
    factors: Reals,
    exact: Reals,
    scratch: Reals,
    c: Real,
    alpha: Real,
    strip_height: int,
    tile: Tile,
) -> None:
    """Write a tile's part of the gradient by x, (planes, channels, H, W).

    It is the gradient of the plane's sum of factor * count * (dissimilarity - mean)^2 / 2, plus that of the
    coarser levels. `means` and `factors` are (planes,), both empty where this level is not compared.
    `coarser_gradient`, (planes, 1, H', W') or empty, is the gradient by the next coarser level.
    """
    first, last, _, top, bottom, left, right = tile
    channels, height, width = x.shape[1:]
    columns, half_columns = right - left, slice(left // 2, (right + 1) // 2)
    compared = means.size > 0
    # The tile's pixels also get slopes from one pixel around it, unless that is outside the plane.
    first_slope, last_slope = max(left - 1, 0), min(right + 1, width)
    lead, slopes = first_slope - (left - 1), last_slope - first_slope
    coarse, result = scratch[_SINGLE_ROWS:], scratch[_SINGLE_ROWS + _STRIDE :]
    coarse[:_STRIDE] = _ZERO
    for plane in range(first, last):
        picture = plane // planes_a_picture
        for start in range(top, bottom, strip_height):
            strip = min(strip_height, bottom - start)
            for i in range(strip + 4 if compared else 0):
                row = start - 2 + i
                _load(
                    x[plane], y[plane], shares,
                    row, left - 2, right + 2, exact[i * _STRIDE :], scratch[i * _STRIDE :],
                )  # fmt: skip
            for i in range(strip + 2 if compared else 0):
                row = start - 1 + i
                rows = scratch[i * _STRIDE :]
                if row < 0 or row >= height:
                    _no_slopes(rows, columns + 2)
                else:
                    _no_slopes(rows, 1)
                    _no_slopes(rows[columns + 1 :], 1)
                    _weigh(counts[picture], row, first_slope, last_slope, factors[plane], rows[lead:])
                    _steepen(exact[i * _STRIDE + lead :], rows[lead:], slopes)
                    _slopes(rows[lead:], means[plane], c, alpha, slopes)
            for i in range(strip):
                row = start + i
                if coarser_gradient.size > 0 and i % 2 == 0:
                    _widen(coarser_gradient[plane, 0, row // 2, half_columns], coarse)
                if compared:
                    _gather(scratch[i * _STRIDE :], coarse, result, columns)
                for channel in range(channels):
                    share = _ONE if shares is None else np.float32(shares[channel])
                    pixels = gradient[plane, channel, row, left:right]
                    _scale(result if compared else coarse, share, pixels, columns)
