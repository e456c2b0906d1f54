"""The kernel of `laplacian`. Contract: `lossarium.losses.fused.LossKernel`.

The loss sums the absolute values of linear operators applied to the error e = x - y. So its gradient is the
operators' adjoints applied to the signs of those values.
"""

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import sign
from lossarium.compute.rows import copy, subtract
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.weighting import shares_of_most

_ZERO, _ONE, _FOUR = np.float32(0), np.float32(1), np.float32(4)
_NOTHING = np.zeros((0, 0), np.float32)

# The pyramid's reduction and expansion, for even sides and for odd ones:
# - the taps that reduce five pixels to one;
# - the two phases that expand three coarser pixels to two finer ones, going down the pyramid and back up;
# - how often the border pixel stands in for those one and two beyond the finer level's border, and one beyond
#   the coarser level's.
_TAPS = np.array(((0, 2, 6, 6, 2), (1, 4, 6, 4, 1)), np.float32) / 16
_PHASES = np.array((((2, 6, 0), (0, 6, 2)), ((1, 6, 1), (0, 4, 4))), np.float32)
_PHASES = np.stack((_PHASES / 8, _PHASES / 16))
_BORDERS = np.array((((1, 1, 1), (1, 1, 1)), ((1, 1, 1), (1 / 4, 0, 5))), np.float32)


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
        fine[j] = sign(band)
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
        row[j] = sign(value)
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
                copy(padded[1:], coarse[row], coarse_width)
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
        subtract(x[i], y[i], errors[i], width)
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

    run_tiles(planes, worker)
    values = sums.reshape(n, channels).mean(axis=1)
    return torch.from_numpy(values.astype(np.float32)), gradient
