"""The kernel of `pixel_gradient`. Contract: `lossarium.losses.fused.LossKernel`.

The loss sums the absolute values of linear operators applied to the error e = x - y. So its gradient is the
operators' adjoints applied to the signs of those values.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import sign
from lossarium.compute.rows import copy, subtract
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import even_parts
from lossarium.compute.weighting import totals_of

_ZERO, _ONE, _TWO = (np.float32(number) for number in (0, 1, 2))
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
        signs[j + 1 + _SIGN_X] = count * sign(middle[j + 2] - middle[j])
        signs[j + 1 + _SIGN_XX] = count * sign(middle[j + 2] - _TWO * middle[j + 1] + middle[j])
        signs[j + 1 + _SIGN_Y] = count * sign(below[j + 1] - above[j + 1])
        signs[j + 1 + _SIGN_YY] = count * sign(below[j + 1] - _TWO * middle[j + 1] + above[j + 1])
        signs[j + 1 + _SIGN_XY] = count * sign((below[j + 2] - below[j]) - (above[j + 2] - above[j]))


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
                subtract(
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
                copy(weight[row, sign_from:], counts[sign_from + lead :], sign_to - sign_from)
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

    run_tiles(len(tiles), worker)
    values = sums.reshape(n, -1).sum(axis=1) * shares
    return torch.from_numpy(values.astype(np.float32)), gradient


def _parts(channels: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of a picture's tiles."""
    columns = -(-width // _TILE_WIDTH)
    bands = min(-(-channels * height * (width // columns) // _TILE_PIXELS), height)
    tiles = product(even_parts(height, bands), even_parts(width, columns))
    return [(*rows, *across) for rows, across in tiles]
