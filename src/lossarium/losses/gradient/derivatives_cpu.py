"""Kernels for `pixel_gradient` and `laplacian`. Contract: `lossarium.losses.fused.LossKernel`.

Both losses sum the absolute values of linear operators applied to the error e = x - y. So their gradients are
the operators' adjoints applied to the signs of those values.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.threads import Work, spread
from lossarium.compute.tiling import even_parts
from lossarium.compute.weighting import shares_of_most, totals_of

_ZERO, _HALF, _ONE, _TWO, _FOUR = (np.float32(number) for number in (0, 0.5, 1, 2, 4))
_NOTHING = np.zeros((0, 0), np.float32)

# Columns in a tile of `pixel_gradient`, and about how many pixels of all channels: few enough that its rows
# stay in the L1 cache, many enough that its surroundings and the interpreter's overhead add little.
_TILE_WIDTH = 512
_TILE_PIXELS = 1 << 17
# The scratch's row stride in numbers: an odd number of cache lines.
_STRIDE = 528
# The tile's first column is at this offset in the scratch: there is room for the two columns beside the tile
# whose errors it needs, and for one that repeats the border.
_LEAD = 3
# Rows of the scratch: three of errors; one of counts; signs of differences along the width (first and second
# order), along the height (both orders), and mixed; what the gradient's next row and the one after it still
# get.
_COUNTS = 3 * _STRIDE
_SIGN_X, _SIGN_XX, _SIGN_Y, _SIGN_YY, _SIGN_XY, _NEXT, _AFTER = (row * _STRIDE for row in range(7))
_SIGNS = 4 * _STRIDE
_SCRATCH = 12 * _STRIDE

# The pyramid's reduction and expansion, for even sides and for odd ones:
# - the taps that reduce five pixels to one;
# - the two phases that expand three coarser pixels to two finer ones, going down the pyramid and back up;
# - how often the border pixel stands in for those one and two beyond the finer level's border, and one beyond
#   the coarser level's.
_TAPS = np.array(((0, 2, 6, 6, 2), (1, 4, 6, 4, 1)), np.float32) / 16
_PHASES = np.array((((2, 6, 0), (0, 6, 2)), ((1, 6, 1), (0, 4, 4))), np.float32)
_PHASES = np.stack((_PHASES / 8, _PHASES / 16))
_BORDERS = np.array((((1, 1, 1), (1, 1, 1)), ((1, 1, 1), (1 / 4, 0, 5))), np.float32)


@inlined
def _sign(error: Real) -> Real:
    return np.float32(error > _ZERO) - np.float32(error < _ZERO)


@inlined
def _subtract(x: Reals, y: Reals, errors: Reals, width: int) -> None:
    for j in range(width):
        errors[j] = x[j] - y[j]


@inlined
def _copy(source: Reals, row: Reals, width: int) -> None:
    for j in range(width):
        row[j] = source[j]


@inlined
def _magnitudes(
    above: Reals, middle: Reals, below: Reals, counts: Reals, first: Real, second: Real, width: int
) -> Real:
    """The weighted sum of both orders' absolute differences in a row, whose first error has the index 1."""
    total = _ZERO
    for j in range(width):
        along = abs(middle[j + 2] - middle[j]) + abs(below[j + 1] - above[j + 1])
        bend = abs(middle[j + 2] - _TWO * middle[j + 1] + middle[j])
        bend += abs(below[j + 1] - _TWO * middle[j + 1] + above[j + 1])
        twist = abs((below[j + 2] - below[j]) - (above[j + 2] - above[j]))
        total += counts[j + 1] * (first * along + second * (_TWO * bend + twist))
    return total


@inlined
def _take_signs(above: Reals, middle: Reals, below: Reals, counts: Reals, signs: Reals, width: int) -> None:
    """Store the signs of the same differences, times the counts."""
    for j in range(width):
        count = counts[j + 1]
        signs[j + 1 + _SIGN_X] = count * _sign(middle[j + 2] - middle[j])
        signs[j + 1 + _SIGN_XX] = count * _sign(middle[j + 2] - _TWO * middle[j + 1] + middle[j])
        signs[j + 1 + _SIGN_Y] = count * _sign(below[j + 1] - above[j + 1])
        signs[j + 1 + _SIGN_YY] = count * _sign(below[j + 1] - _TWO * middle[j + 1] + above[j + 1])
        signs[j + 1 + _SIGN_XY] = count * _sign((below[j + 2] - below[j]) - (above[j + 2] - above[j]))


@inlined
def _gather(signs: Reals, gradient: Reals, first: Real, second: Real, top: Real, width: int) -> None:
    """Add the adjoint differences of a row's signs to the gradient of the row above, of itself and of the row
    below. The row above is then complete. `top` is 1 in the first row, whose border is repeated, else 0."""
    for j in range(width):
        down = first * signs[j + 1 + _SIGN_Y] + second * (signs[j + _SIGN_XY] - signs[j + 2 + _SIGN_XY])
        bend = second * _TWO * signs[j + 1 + _SIGN_YY]
        along = first * (signs[j + _SIGN_X] - signs[j + 2 + _SIGN_X])
        along += (
            second * _TWO
            * (signs[j + _SIGN_XX] - _TWO * signs[j + 1 + _SIGN_XX] + signs[j + 2 + _SIGN_XX])
        )  # fmt: skip
        up = bend - down
        gradient[j] = signs[j + 1 + _NEXT] + up
        signs[j + 1 + _NEXT] = along - _TWO * bend + top * up + signs[j + 1 + _AFTER]
        signs[j + 1 + _AFTER] = bend + down


@inlined
def _finish(signs: Reals, gradient: Reals, width: int) -> None:
    """Complete the last row, which at the repeated border is also the row below itself."""
    for j in range(width):
        gradient[j] = signs[j + _NEXT] + signs[j + _AFTER]


@compiled
def _difference_tile(
    x: Reals,
    y: Reals,
    weight: Reals,
    gradient: Reals,
    scratch: Reals,
    factor: Real,
    first: Real,
    second: Real,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> Real:
    """Compare rows top to bottom and columns left to right of one picture, x with y, (C, H, W).

    Returns the sum of counts times (2 first (|e_x| + |e_y|) + 2 second (|e_xx| + |e_yy| + 2 |e_xy|)), and
    writes its part of that sum's gradient by x times `factor`, unless `gradient` has no elements.
    """
    channels, height, width = x.shape
    sloped = gradient.size > 0
    reach = 1 if sloped else 0
    lead = _LEAD - left
    from_column, to_column = max(left - 1 - reach, 0), min(right + 1 + reach, width)
    sign_from, sign_to = max(left - reach, 0), min(right + reach, width)
    signs = scratch[_SIGNS:]
    counts = scratch[_COUNTS:]
    counts[:_STRIDE] = _ONE
    result = 0.0
    for channel in range(channels):
        signs[: 7 * _STRIDE] = _ZERO
        loaded = max(top - reach - 1, 0)
        for row in range(max(top - reach, 0), min(bottom + reach, height)):
            while loaded < min(row + 2, height):
                errors = scratch[(loaded % 3) * _STRIDE : (loaded % 3 + 1) * _STRIDE]
                _subtract(
                    x[channel, loaded, from_column:],
                    y[channel, loaded, from_column:],
                    errors[from_column + lead :],
                    to_column - from_column,
                )
                errors[from_column + lead - 1] = errors[from_column + lead]
                errors[to_column + lead] = errors[to_column + lead - 1]
                loaded += 1
            above = scratch[max(row - 1, 0) % 3 * _STRIDE :]
            middle = scratch[row % 3 * _STRIDE :]
            below = scratch[min(row + 1, height - 1) % 3 * _STRIDE :]
            if weight.size > 0:
                _copy(weight[row, sign_from:], counts[sign_from + lead :], sign_to - sign_from)
            if top <= row < bottom:
                start = _LEAD - 1
                result += _magnitudes(
                    above[start:], middle[start:], below[start:], counts[start:], first, second, right - left
                )
            if not sloped:
                continue
            start = sign_from + lead - 1
            _take_signs(
                above[start:], middle[start:], below[start:], counts[start:], signs[start:],
                sign_to - sign_from,
            )  # fmt: skip
            if left == 0:
                _repeat_signs(signs, _LEAD, _LEAD - 1)
            if right == width:
                _repeat_signs(signs, right + lead - 1, right + lead)
            # The row above the tile belongs to another one: it goes to a row of the scratch that is not read.
            complete = gradient[channel, row - 1, left:] if row > top else scratch[11 * _STRIDE :]
            _gather(
                signs[_LEAD - 1 :], complete, first * factor, second * factor,
                _ONE if row == 0 else _ZERO, right - left,
            )  # fmt: skip
        if sloped and bottom == height:
            _finish(signs[_LEAD:], gradient[channel, height - 1, left:], right - left)
    return result


@inlined
def _repeat_signs(signs: Reals, border: int, beyond: int) -> None:
    """Set the signs beyond the border so that the adjoint needs no special case at the repeated border."""
    signs[beyond + _SIGN_X] = -signs[border + _SIGN_X]
    signs[beyond + _SIGN_XX] = signs[border + _SIGN_XX]
    signs[beyond + _SIGN_XY] = -signs[border + _SIGN_XY]


def pixel_gradient(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, second_order: float
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean of both orders' absolute differences, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    gradient = None if scale is None else torch.empty_like(input)
    x, y = input.numpy(), target.numpy()
    slopes = np.zeros((n, 0, 0, 0), np.float32) if gradient is None else gradient.numpy()
    if weight is None:
        counts, totals = np.zeros((n, 0, 0), np.float32), np.full(n, float(height * width))
    else:
        counts = weight[:, 0].numpy()
        totals = totals_of(counts)
    shares = 1 / (totals * channels)
    factors = (shares * (scale or 0)).astype(np.float32)
    # The shares of the two orders, halved, since the kernel does not divide its differences by 2.
    first, second = (np.float32(part / (1 + second_order) / 2) for part in (1, second_order))
    tiles = [(picture, *part) for picture in range(n) for part in _parts(channels, height, width)]
    sums = np.zeros(len(tiles))

    def worker() -> Work:
        scratch = np.zeros(_SCRATCH, np.float32)

        def work(tile: int) -> None:
            picture, *part = tiles[tile]
            sums[tile] = _difference_tile(
                x[picture], y[picture], counts[picture], slopes[picture], scratch,
                factors[picture], first, second, *part,
            )  # fmt: skip

        return work

    spread(len(tiles), worker)
    values = sums.reshape(n, -1).sum(axis=1) * shares
    return torch.from_numpy(values.astype(np.float32)), gradient


def _parts(channels: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of a picture's tiles."""
    columns = -(-width // _TILE_WIDTH)
    bands = min(-(-channels * height * (width // columns) // _TILE_PIXELS), height)
    tiles = product(even_parts(height, bands), even_parts(width, columns))
    return [(*rows, *across) for rows, across in tiles]


@compiled
def _weigh_plane(shares: Reals, plane: Reals) -> None:
    for i in range(shares.shape[0]):
        row, row_shares = plane[i], shares[i]
        for j in range(shares.shape[1]):
            row[j] *= row_shares[j]


@inlined
def _reduce_down(
    a: Reals, b: Reals, c: Reals, d: Reals, e: Reals, taps: Reals, inner: Real, outer: Real, top: int,
    bottom: int, row: Reals, width: int,
) -> None:  # fmt: skip
    """Average five rows into one; `top` of them are above the picture, `bottom` below (border repeated)."""
    tap_a = taps[0] * outer if top > 1 else taps[0]
    tap_b = taps[1] * inner if top > 0 else taps[1]
    tap_d = taps[3] * inner if bottom > 1 else taps[3]
    tap_e = taps[4] * outer if bottom > 1 else taps[4] * inner if bottom > 0 else taps[4]
    tap_c = taps[2]
    for j in range(width):
        row[j] = tap_a * a[j] + tap_b * b[j] + tap_c * c[j] + tap_d * d[j] + tap_e * e[j]


@inlined
def _reduce_along(row: Reals, taps: Reals, coarse: Reals, width: int) -> None:
    a, b, c, d, e = taps[0], taps[1], taps[2], taps[3], taps[4]
    for j in range(width):
        coarse[j] = (
            a * row[2 * j] + b * row[2 * j + 1] + c * row[2 * j + 2] + d * row[2 * j + 3] + e * row[2 * j + 4]
        )


@inlined
def _expand_along(row: Reals, phases: Reals, expanded: Reals, width: int) -> None:
    a, b, c, d, e = phases[0, 0], phases[0, 1], phases[0, 2], phases[1, 1], phases[1, 2]
    for j in range(width):
        expanded[2 * j] = a * row[j] + b * row[j + 1] + c * row[j + 2]
        expanded[2 * j + 1] = d * row[j + 1] + e * row[j + 2]


@inlined
def _take_band(
    fine: Reals, above: Reals, middle: Reals, below: Reals, a: Real, b: Real, c: Real, width: int
) -> Real:
    """The sum of a row's absolute differences from the expanded coarser level; leaves their signs."""
    total = _ZERO
    for j in range(width):
        band = fine[j] - (a * above[j] + b * middle[j] + c * below[j])
        total += abs(band)
        fine[j] = _sign(band)
    return total


@inlined
def _add_coarse(
    fine: Reals, share: Real, above: Reals, middle: Reals, below: Reals, a: Real, b: Real, c: Real, width: int
) -> None:
    for j in range(width):
        fine[j] = share * fine[j] + (a * above[j] + b * middle[j] + c * below[j])


@inlined
def _less(row: Reals, factor: Real, coarse: Reals, width: int) -> None:
    for j in range(width):
        row[j] = coarse[j] - factor * row[j]


@inlined
def _absolute(row: Reals, width: int) -> Real:
    """The sum of a row's absolute values; leaves their signs in the row."""
    total = _ZERO
    for j in range(width):
        value = row[j]
        total += abs(value)
        row[j] = _sign(value)
    return total


@inlined
def _multiply(row: Reals, share: Real, width: int) -> None:
    for j in range(width):
        row[j] *= share


@compiled
def _sweep(fine: Reals, coarse: Reals, rows: Reals, share: Real, upwards: bool) -> Real:
    """Process one level of the pyramid, downwards or, for the gradient, upwards, in one sweep over its rows.

    Downwards, `coarse` becomes the reduced `fine`, and `fine` becomes the signs of its differences from the
    expanded `coarse`; the sum of the absolute differences is returned.

    Upwards, `coarse` is the gradient by the coarser level, and `fine` becomes the gradient by the finer one:
    with E the expansion, R the reduction and s = share * fine, it is s + R^T(coarse - E^T s). Away from the
    borders, E^T is 4 R and R^T is E / 4. At the borders, the adjoints differ only in how much the repeated
    border counts, and only for odd sides.
    """
    height, width = fine.shape
    coarse_height, coarse_width = coarse.shape
    way = 1 if upwards else 0
    taps_down, taps_along = _TAPS[height % 2], _TAPS[width % 2]
    borders_down, borders_along = _BORDERS[way, height % 2], _BORDERS[way, width % 2]
    inner_down, outer_down, repeated_down = borders_down[0], borders_down[1], borders_down[2]
    inner_along, outer_along, repeated_along = borders_along[0], borders_along[1], borders_along[2]
    phases_down, phases_along = _PHASES[way, height % 2], _PHASES[way, width % 2]
    result = 0.0
    reduced, padded = rows[0], rows[1]
    for row in range(coarse_height + 1):
        if row < coarse_height:
            centre = 2 * row
            _reduce_down(
                fine[max(centre - 2, 0)], fine[max(centre - 1, 0)], fine[centre],
                fine[min(centre + 1, height - 1)], fine[min(centre + 2, height - 1)],
                taps_down, inner_down, outer_down, 2 - min(centre, 2), 2 - min(height - 1 - centre, 2),
                reduced[2:], width,
            )  # fmt: skip
            reduced[0], reduced[1] = outer_along * reduced[2], inner_along * reduced[2]
            reduced[width + 2], reduced[width + 3] = (
                inner_along * reduced[width + 1], outer_along * reduced[width + 1],
            )  # fmt: skip
            _reduce_along(reduced, taps_along, padded[1:], coarse_width)
            if upwards:
                _less(padded[1:], _FOUR * share, coarse[row], coarse_width)
            else:
                _copy(padded[1:], coarse[row], coarse_width)
            padded[0] = repeated_along * padded[1]
            padded[coarse_width + 1] = repeated_along * padded[coarse_width]
            _expand_along(padded, phases_along, rows[2 + row % 3], coarse_width)
        if row > 0:
            above = rows[2 + max(row - 2, 0) % 3]
            middle = rows[2 + (row - 1) % 3]
            below = rows[2 + min(row, coarse_height - 1) % 3]
            for phase in range(2):
                line = 2 * (row - 1) + phase
                if line >= height:
                    continue
                a, b, c = phases_down[phase, 0], phases_down[phase, 1], phases_down[phase, 2]
                a = a * repeated_down if row == 1 else a
                c = c * repeated_down if row == coarse_height else c
                if upwards:
                    _add_coarse(fine[line], share, above, middle, below, a, b, c, width)
                else:
                    result += _take_band(fine[line], above, middle, below, a, b, c, width)
    return result


@compiled
def _pyramid(
    x: Reals,
    y: Reals,
    shares: Reals,
    errors: Reals,
    coarser: Reals,
    rows: Reals,
    levels: int,
    factor: Real,
    sloped: bool,
) -> Real:
    """The value of one plane x against y, (H, W), with the error multiplied by `shares` unless that is empty.

    `errors`, (H, W), is scratch and, where `sloped`, becomes the gradient times `factor`. `coarser` is
    scratch for the coarser levels, and `rows` for five rows with two more pixels at either end.
    """
    height, width = x.shape
    for i in range(height):
        _subtract(x[i], y[i], errors[i], width)
    _weigh_plane(shares, errors)
    result = 0.0
    fine = errors
    start = 0
    for _ in range(levels):
        h, w = fine.shape
        size = ((h + 1) // 2) * ((w + 1) // 2)
        coarse = coarser[start : start + size].reshape((h + 1) // 2, (w + 1) // 2)
        result += _sweep(fine, coarse, rows, _ONE, False) / (h * w)
        fine = coarse
        start += size
    h, w = fine.shape
    total = 0.0
    for i in range(h):
        total += _absolute(fine[i], w)
    result += total / (h * w)
    if not sloped:
        return result

    share = np.float32(factor / (h * w))
    for i in range(h):
        _multiply(fine[i], share, w)
    for level in range(levels - 1, -1, -1):
        coarse = fine
        h, w = height, width
        end = 0
        for _ in range(level):
            h, w = (h + 1) // 2, (w + 1) // 2
            end += h * w
        fine = errors if level == 0 else coarser[end - h * w : end].reshape(h, w)
        _sweep(fine, coarse, rows, np.float32(factor / (h * w)), True)
    _weigh_plane(shares, errors)
    return result


def laplacian(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, levels: int
) -> tuple[Tensor, Tensor | None]:
    """The mean absolute error of each level of the Laplacian pyramid, summed, and its gradient times `scale`.

    The error is kept where the gradient goes; without a gradient, in one scratch plane per thread.
    """
    n, channels, height, width = input.shape
    planes = n * channels
    gradient = None if scale is None else torch.empty_like(input)
    x, y = (picture.view(planes, height, width).numpy() for picture in (input, target))
    slopes = None if gradient is None else gradient.view(planes, height, width).numpy()
    shares = shares_of_most(weight)
    factor = (scale or 0) / channels
    sums = np.zeros(planes)

    def worker() -> Work:
        # Sides halve rounding up, which adds at most one row and one column a level.
        coarser = np.empty((height + 2 * levels) * (width + 2 * levels) // 3 + 1, np.float32)
        rows = np.empty((5, width + 4), np.float32)
        place = np.empty((height, width) if slopes is None else (0, 0), np.float32)

        def work(plane: int) -> None:
            share = _NOTHING if shares is None else shares[plane // channels]
            errors = place if slopes is None else slopes[plane]
            sums[plane] = _pyramid(
                x[plane], y[plane], share, errors, coarser, rows, levels, factor, slopes is not None
            )

        return work

    spread(planes, worker)
    values = sums.reshape(n, channels).mean(axis=1)
    return torch.from_numpy(values.astype(np.float32)), gradient
