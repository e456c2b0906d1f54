"""SSIM-like similarity under sliding windows: its value and its gradient, a tile at a time.

The kernel sweeps a tile from top to bottom in strips of rows:

1. Along each new row of pixels it averages four moments: x, the error e = x - y, x^2 + y^2, and e^2.
2. Averaging these down the columns gives the moments of a row of windows.
3. From these come the dissimilarity and its derivatives by the moments.
4. The same averages run backwards (their adjoints) over a window's height of such rows give a row of the
   gradient.

What later strips need stays in a scratch of a few rows that fits the L2 cache, so the pictures are read once
and the gradient is written once. The size of that cache determines how many rows a strip has (`strip_rows`).
That changes no bit of the result: rows are summed one after the other, however they are cut into strips.

The scratch is one array whose parts lie at constant offsets. So the compiler can prove that the rows written
are not the rows read, and uses vector instructions. (Separate arrays would be easier to read, and take twelve
times as long.)
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numba.np.numpy_support import carray

from lossarium.compute.compiling import (
    NativeKernel,
    Real,
    Reals,
    doubles_at,
    floats_at,
    inlined,
    native,
    next_of,
)
from lossarium.compute.prefetching import read_later, write_soon
from lossarium.compute.rows import copy
from lossarium.compute.tiling import rows_that_fit

# The scratch's row stride in numbers: 33 cache lines, an odd number, so that rows do not compete for the same
# sets of the cache.
_STRIDE = 528
# Rows of windows are padded to a multiple of this, so that vector instructions leave no remainder.
_LANES = 32
# The most rows in a strip, for which the scratch has room; even, since rows are compared two at a time.
_STRIP = 32
# Parts of the scratch that have a row for each row of a strip: seven moments and derivatives, the counts and
# the weighted dissimilarities.
_PARTS = 9
# Columns of a tile with its surroundings: the tile itself is narrower by the windows' reach on both sides.
_WIDEST = 520

Tile = Callable[..., Real]


def tile_width(size: int) -> int:
    """The most columns a tile can have for windows of `size` pixels a side; below 1 for too large windows."""
    return _WIDEST - 2 * (size - 1)


def scratch_size(size: int) -> int:
    """Numbers in the scratch of a kernel for windows of `size` pixels a side."""
    return (_PARTS * (_STRIP + size - 1) + 3) * _STRIDE


def strip_rows(size: int, width: int, double: bool = False) -> int:
    """Rows in a strip of a tile of `width` columns, such that its scratch fits the L2 cache that a core has.

    For each of its rows and `size` - 1 more, the scratch has 9 rows of `width` + size - 1 numbers.
    """
    row = min(width + size - 1, _STRIDE) * (8 if double else 4)
    return rows_that_fit(_PARTS * row, size - 1, _STRIP)


@cache
def similarity(size: int, luminance: bool, double: bool = False, mixed: bool = False) -> NativeKernel:
    """The kernel for windows of `size` pixels a side, compiled for that size; native, see `compiling.native`.

    `ssim_cpu.dissimilarity_of_planes` packs its arguments.
    """
    sweep = similarity_sweep(size, luminance, double, mixed)
    precision = np.float64 if double else np.float32
    reach, room = size - 1, scratch_size(size)

    @inlined
    def planes_at(address: int, planes: int, _channels: int, height: int, width: int) -> Reals:
        there = 1 if address else 0
        return carray(floats_at(address), (planes, height * there, width * there))

    @inlined
    def mixed_planes_at(address: int, planes: int, channels: int, height: int, width: int) -> Reals:
        there = 1 if address else 0
        return carray(floats_at(address), (planes, channels, height * there, width * there))

    pictures_at = mixed_planes_at if mixed else planes_at

    def tiles(arguments: Reals) -> None:
        """Take tiles, each a piece of some planes, until none is left."""
        count, pieces, together = arguments[1], arguments[2], arguments[3]
        planes, channels, height, width = arguments[4], arguments[5], arguments[6], arguments[7]
        pictures, has_counts = arguments[8], 1 if arguments[12] else 0
        x = pictures_at(arguments[9], planes, channels, height, width)
        y = pictures_at(arguments[10], planes, channels, height, width)
        gradient = pictures_at(arguments[11], planes, channels, height, width)
        rows, columns = (height - reach) * has_counts, (width - reach) * has_counts
        centres = carray(floats_at(arguments[12]), (pictures, rows, columns))
        strip_height = arguments[14]
        numbers = carray(doubles_at(arguments[13]), (2 + size + channels + planes + pieces * planes,))
        c1, c2 = precision(numbers[0]), precision(numbers[1])
        taps = numbers[2 : 2 + size].astype(precision)
        shares = numbers[2 + size : 2 + size + channels].astype(precision)
        factors = numbers[2 + size + channels : 2 + size + channels + planes].astype(precision)
        sums = numbers[2 + size + channels + planes :].reshape(pieces, planes)
        scratch = np.empty(room, precision)
        tile = next_of(arguments, 0)
        while tile < count:
            piece, first = tile % pieces, tile // pieces * together
            place = 15 + 4 * piece
            for plane in range(first, min(first + together, planes)):
                sums[piece, plane] = sweep(
                    x[plane], y[plane], centres[plane * pictures // planes], gradient[plane], shares, scratch,
                    taps, factors[plane], c1, c2,
                    arguments[place], arguments[place + 1], arguments[place + 2], arguments[place + 3],
                    strip_height,
                )  # fmt: skip
            tile = next_of(arguments, 0)

    return native(tiles)


@cache
def similarity_sweep(size: int, luminance: bool, double: bool = False, mixed: bool = False) -> Tile:  # noqa: C901 - its parts are functions
    """The function that sweeps over a tile, to be inlined into kernels.

    The similarity of a window is (2 mx my + c1) / (mx^2 + my^2 + c1) * (2 sxy + c2) / (sx^2 + sy^2 + c2), or
    only its second factor where `luminance` is False. 1 minus each factor is computed from the error's
    moments, as me^2 / (mx^2 + my^2 + c1) and se^2 / (sx^2 + sy^2 + c2). These are small where the pictures
    are alike, so no digits are lost in a difference of two numbers near 1.

    Each tile returns the sum of count * (1 - similarity) over its own windows, those whose first pixel lies
    in it. Unless the gradient has no elements, it also writes its part of the gradient by x of that sum over
    all windows of the picture.

    Where `mixed`, a plane is (C, H, W) and its channels are mixed by their shares as they are read.
    """
    precision = np.float64 if double else np.float32
    reach = size - 1
    plane = (_STRIP + reach) * _STRIDE
    # Parts of the scratch, as offsets from a row's first number: the moments and derivatives of
    # `_STRIP + reach` rows, the counts and weighted dissimilarities of `_STRIP` rows of windows; single rows.
    x_moment, error_moment, squares_moment, square_error_moment = 0, plane, 2 * plane, 3 * plane
    # Slopes have a margin of zeros on both sides, where there is no window.
    x_slope, squares_slope, square_error_slope = (part * plane + reach for part in (4, 5, 6))
    counts, dissimilarities = 7 * plane, 8 * plane
    single_rows = 9 * plane
    newest = reach * _STRIDE
    zero, one, two = precision(0), precision(1), precision(2)

    @inlined
    def load(
        plane: Reals, _shares: Reals, i: int, first: int, reference: Real, row: Reals, width: int
    ) -> None:
        """Load columns first to first + width of row i, minus the reference."""
        source = plane[i, first:]
        for j in range(width):
            row[j] = source[j] - reference

    @inlined
    def load_mixed(
        plane: Reals, shares: Reals, i: int, first: int, reference: Real, row: Reals, width: int
    ) -> None:
        source, share = plane[0, i, first:], shares[0]
        if plane.shape[0] == 3:
            second, third = plane[1, i, first:], plane[2, i, first:]
            second_share, third_share = shares[1], shares[2]
            for j in range(width):
                row[j] = share * source[j] + second_share * second[j] + (third_share * third[j] - reference)
            return
        for j in range(width):
            row[j] = share * source[j] - reference
        for channel in range(1, plane.shape[0]):
            source, share = plane[channel, i, first:], shares[channel]
            for j in range(width):
                row[j] += share * source[j]

    @inlined
    def store(row: Reals, _shares: Reals, gradient: Reals, i: int, left: int, width: int) -> None:
        target = gradient[i, left:]
        for j in range(width):
            target[j] = row[j]

    @inlined
    def store_mixed(row: Reals, shares: Reals, gradient: Reals, i: int, left: int, width: int) -> None:
        for channel in range(gradient.shape[0]):
            target, share = gradient[channel, i, left:], shares[channel]
            for j in range(width):
                target[j] = share * row[j]

    read, write = (load_mixed, store_mixed) if mixed else (load, store)

    @inlined
    def channel_row(picture: Reals, _channel: int, i: int, first: int) -> Reals:
        return picture[i, first:]

    @inlined
    def channel_row_mixed(picture: Reals, channel: int, i: int, first: int) -> Reals:
        return picture[channel, i, first:]

    row_of = channel_row_mixed if mixed else channel_row

    @inlined
    def read_rows_later(x: Reals, y: Reals, row: int, end: int, first: int, width: int) -> None:
        """Fetch a piece of the two rows that the next strip will read in place of these."""
        for later in range(row, min(row + 2, end)):
            for channel in range(x.shape[0] if mixed else 1):
                read_later(row_of(x, channel, later, first), width)
                read_later(row_of(y, channel, later, first), width)

    @inlined
    def write_rows_soon(gradient: Reals, row: int, end: int, first: int, width: int) -> None:
        """Fetch a piece of one or two rows of the gradient."""
        for soon in range(row, end):
            for channel in range(gradient.shape[0] if mixed else 1):
                write_soon(row_of(gradient, channel, soon, first), width)

    @inlined
    def average_along(x: Reals, y: Reals, rows: Reals, taps: Reals, width: int) -> None:
        """Average the four moments of a row of pixels along it."""
        for j in range(width):
            mean_x = mean_error = mean_squares = mean_square_error = zero
            for k in range(size):
                tap, error = taps[k], x[j + k] - y[j + k]
                mean_x += tap * x[j + k]
                mean_error += tap * error
                mean_squares += tap * (x[j + k] * y[j + k])
                mean_square_error += tap * (error * error)
            rows[j + x_moment] = mean_x
            rows[j + error_moment] = mean_error
            rows[j + squares_moment] = mean_square_error + two * mean_squares
            rows[j + square_error_moment] = mean_square_error

    @inlined
    def dissimilarity(
        mean_x: Real,
        mean_error: Real,
        mean_squares: Real,
        mean_square_error: Real,
        reference: Real,
        c1: Real,
        c2: Real,
    ) -> tuple[Real, Real, Real, Real]:
        """A window's dissimilarity by its moments, and its derivatives by those of x, x^2 + y^2 and e^2.

        Variances do not depend on the reference that the moments are taken about; means do.
        """
        mean_y = mean_x - mean_error
        variances = max(mean_squares - mean_x * mean_x - mean_y * mean_y, zero)
        per_contrast = one / (variances + c2)
        change = max(mean_square_error - mean_error * mean_error, zero) * per_contrast
        change_slope = two * (change * mean_x - mean_error) * per_contrast
        if not luminance:
            return change, change_slope, -change * per_contrast, per_contrast
        bright_x, bright_y = mean_x + reference, mean_y + reference
        per_brightness = one / (bright_x * bright_x + bright_y * bright_y + c1)
        shade = mean_error * mean_error * per_brightness
        shade_slope = two * (mean_error - shade * bright_x) * per_brightness
        light = one - shade
        slope = shade_slope * (one - change) + change_slope * light
        return shade + change * light, slope, -light * change * per_contrast, light * per_contrast

    @inlined
    def average_down(rows: Reals, taps: Reals, width: int) -> None:
        """Average two rows, one below the other, with the `reach` rows below each, in place.

        Two at once, since they average all but one of the same rows; in place, since nothing reads these two
        again. (With the outermost rows inside the inner loop, the compiler would emit gather instructions
        along the columns, which take ten times as long.)
        """
        for j in range(width):
            above, below = taps[0] * rows[j], taps[reach] * rows[j + size * _STRIDE]
            for k in range(1, size):
                value = rows[j + k * _STRIDE]
                above += taps[k] * value
                below += taps[k - 1] * value
            rows[j] = above
            rows[j + _STRIDE] = below

    @inlined
    def compare(rows: Reals, reference: Real, c1: Real, c2: Real, width: int) -> None:
        """For a row of windows: weighted dissimilarities, and their derivatives by the moments."""
        for j in range(width):
            value, by_x, by_squares, by_square_error = dissimilarity(
                rows[j + x_moment],
                rows[j + error_moment],
                rows[j + squares_moment],
                rows[j + square_error_moment],
                reference,
                c1,
                c2,
            )
            count = rows[j + counts]
            rows[j + dissimilarities] = count * value
            rows[j + newest + x_slope] = count * by_x
            rows[j + newest + squares_slope] = count * by_squares
            rows[j + newest + square_error_slope] = count * by_square_error

    @inlined
    def no_slopes(rows: Reals, width: int) -> None:
        """Set the slopes to 0 beyond the first and last rows of windows."""
        for j in range(width):
            rows[j + x_slope] = zero
            rows[j + squares_slope] = zero
            rows[j + square_error_slope] = zero

    @inlined
    def gather_along(rows: Reals, x: Reals, y: Reals, gradient: Reals, taps: Reals, width: int) -> None:
        """Write a row of the gradient: for each pixel, the slopes of all windows that contain it.

        The taps are symmetric, so the adjoint of an average is the same average.
        """
        for j in range(width):
            by_x = by_squares = by_square_error = zero
            for k in range(size):
                tap = taps[k]
                by_x += tap * rows[j + k]
                by_squares += tap * rows[j + k + plane]
                by_square_error += tap * rows[j + k + 2 * plane]
            gradient[j] = by_x + two * (x[j] * by_squares + (x[j] - y[j]) * by_square_error)

    @inlined
    def keep_overlap(scratch: Reals, parts: int, strip: int, width: int) -> None:
        """Copy the last rows of a strip to the top of the scratch, where the next strip begins with them."""
        for part in range(parts):
            for i in range(reach):
                row = part * plane + i * _STRIDE
                copy(scratch[row + strip * _STRIDE :], scratch[row:], reach + width)

    @inlined
    def weigh(centres: Reals, factor: Real, row_counts: Reals, width: int) -> None:
        for j in range(width):
            row_counts[j] = factor * centres[j]

    @inlined
    def total(values: Reals, width: int) -> Real:
        result = zero
        for j in range(width):
            result += values[j]
        return result

    @inlined
    def sweep(  # noqa: C901 - one sweep, read from top to bottom
        x: Reals,
        y: Reals,
        centres: Reals,
        gradient: Reals,
        shares: Reals,
        scratch: Reals,
        taps: Reals,
        factor: Real,
        c1: Real,
        c2: Real,
        top: int,
        bottom: int,
        left: int,
        right: int,
        strip_height: int,
    ) -> Real:
        """Compare rows top to bottom and columns left to right of one picture's plane x with y, (H, W).

        It sweeps in strips of `strip_height` rows, see `strip_rows`. `scratch` has `scratch_size` elements.
        A window's weight is `factor`, times its element of `centres`, (H - reach, W - reach), unless that is
        empty.
        """
        height, width = x.shape[-2], x.shape[-1]
        sloped = gradient.size > 0
        surroundings = reach if sloped else 0
        last_window = min(bottom, height - reach)
        window = max(top - surroundings, 0)
        first_column = max(left - surroundings, 0)
        columns = min(right, width - reach) - first_column
        lanes = min((columns + _LANES - 1) // _LANES * _LANES, _STRIDE - reach)
        lead = left - first_column
        last = bottom if sloped else last_window
        # The processor foresees rows that follow each other in memory, but not pieces of longer rows. A
        # quarter or a third of such a piece is fetched at a time, in whole cache lines.
        last_read, last_written = (min(last + reach, height), last) if right - left < width else (0, 0)
        piece, written_piece = (columns + reach + 63) // 64 * 16, (right - left + 47) // 48 * 16
        shifted_x, shifted_y = scratch[single_rows:], scratch[single_rows + _STRIDE :]
        slopes = scratch[single_rows + 2 * _STRIDE :]
        read(y, shares, (top + bottom) // 2, (left + right) // 2, zero, shifted_y, 1)
        reference = shifted_y[0]

        for part in range(4, 7):
            for i in range(strip_height + reach):
                start = part * plane + i * _STRIDE
                scratch[start : start + reach] = zero
                scratch[start + reach + columns : start + columns + 2 * reach] = zero
        for i in range(reach):
            no_slopes(scratch[i * _STRIDE :], lanes)
        scratch[single_rows : single_rows + 2 * _STRIDE] = zero
        for i in range(strip_height):
            row_counts = scratch[counts + i * _STRIDE :]
            row_counts[:columns] = factor
            row_counts[columns:lanes] = zero

        result = 0.0
        filled = 0
        while window < last:
            strip = min(strip_height, last - window)
            for i in range(filled, min(strip + reach, height - window)):
                read(x, shares, window + i, first_column, reference, shifted_x, columns + reach)
                read(y, shares, window + i, first_column, reference, shifted_y, columns + reach)
                average_along(shifted_x, shifted_y, scratch[i * _STRIDE :], taps, lanes)
            for i in range(0, strip, 2):
                row, below = window + i, window + i + 1
                rows = scratch[i * _STRIDE :]
                if row < last_window:
                    if centres.size > 0:
                        weigh(centres[row, first_column:], factor, rows[counts:], columns)
                        if below < last_window:
                            weigh(centres[below, first_column:], factor, rows[_STRIDE + counts :], columns)
                    for part in range(4):
                        average_down(rows[part * plane :], taps, lanes)
                        at = part * piece
                        read_rows_later(
                            x, y, row + strip_height + reach, last_read, first_column + at,
                            min(piece, columns + reach - at),
                        )  # fmt: skip
                    compare(rows, reference, c1, c2, lanes)
                    if row >= top:
                        result += total(rows[dissimilarities + lead :], columns - lead)
                    if below < last_window:
                        compare(rows[_STRIDE:], reference, c1, c2, lanes)
                        if below >= top:
                            result += total(rows[_STRIDE + dissimilarities + lead :], columns - lead)
                else:
                    no_slopes(rows[newest:], lanes)
                if below >= last_window:
                    no_slopes(rows[_STRIDE + newest :], lanes)
                if sloped and below >= top:
                    for part in range(3):
                        at = part * written_piece
                        write_rows_soon(
                            gradient, max(row, top), min(below + 1, last_written), left + at,
                            min(written_piece, right - left - at),
                        )  # fmt: skip
                        average_down(rows[x_slope + part * plane :], taps, lanes)
                    for second in range(2):
                        if top <= row + second < last:
                            read(x, shares, row + second, left, reference, shifted_x, right - left)
                            read(y, shares, row + second, left, reference, shifted_y, right - left)
                            gather_along(
                                rows[4 * plane + second * _STRIDE + lead :],
                                shifted_x,
                                shifted_y,
                                slopes,
                                taps,
                                right - left,
                            )
                            write(slopes, shares, gradient, row + second, left, right - left)
            keep_overlap(scratch, 7 if sloped else 4, strip_height, lanes)
            filled = reach
            window += strip
        return result

    return sweep
