"""Kernels of element-wise losses: the value and the derivative of each element, in one pass."""

from array import array
from collections.abc import Callable

import numpy as np
import torch
from numba.np.numpy_support import carray
from torch import Tensor

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
from lossarium.compute.threads import run_native
from lossarium.compute.weighting import totals_of

Point = Callable[[Real, Real, Reals], tuple[Real, Real]]
"""(x, y, options) -> a value and its derivative by x. Vector instructions compute both sides of a branch."""

# Values in a tile: enough that fetching a tile costs next to nothing. Each value is read and written once, so
# the sizes of the caches do not matter.
_TILE = 1 << 15
# Values summed in float32 before the sum is added to a float64 total.
_BLOCK = 1 << 8


def elementwise(point: Point, precision: type[np.float32 | np.float64] = np.float32) -> NativeKernel:
    """The kernel of a loss that is a mean over elements; it gets its options in `precision`."""
    part = _part(point)

    def tiles(arguments: Reals) -> None:
        """Take tiles, each some pixels of some pictures, until none is left.

        `mean_of_values` packs the arguments.
        """
        count, pieces, longest, together = arguments[2], arguments[3], arguments[4], arguments[5]
        n, channels, pixels, choices = arguments[6], arguments[7], arguments[8], arguments[15]
        x = carray(floats_at(arguments[9]), (n, channels, pixels))
        y = carray(floats_at(arguments[10]), (n, channels, pixels))
        gradient = carray(floats_at(arguments[11]), (n, channels, pixels if arguments[11] else 0))
        counts = carray(floats_at(arguments[12]), (n, pixels if arguments[12] else 0))
        values = carray(floats_at(arguments[13]), (n,))
        numbers = carray(doubles_at(arguments[14]), (1 + choices + n + pieces * n,))
        scale, options = numbers[0], numbers[1 : 1 + choices].astype(precision)
        shares = numbers[1 + choices : 1 + choices + n]
        sums = numbers[1 + choices + n :].reshape(pieces, n)
        tile = next_of(arguments, 0)
        while tile < count:
            piece, group = tile % pieces, tile // pieces
            first, last = piece * longest, min((piece + 1) * longest, pixels)
            pictures = range(group * together, min((group + 1) * together, n))
            for k in pictures:
                factor = np.float32(shares[k] * scale)
                sums[piece, k] = part(x[k], y[k], counts[k], gradient[k], options, factor, first, last)
            # Whoever does the last tile adds up what all have found.
            if next_of(arguments, 1) == count - 1:
                for k in range(n):
                    values[k] = np.float32(sums[:, k].sum() * shares[k])
            tile = next_of(arguments, 0)

    return native(tiles)


def _part(point: Point) -> Callable[..., Real]:  # noqa: C901 - four loops, one for each case
    @inlined
    def part(
        x: Reals,
        y: Reals,
        counts: Reals,
        gradient: Reals,
        options: Reals,
        factor: Real,
        first: int,
        last: int,
    ) -> Real:
        """The (weighted) sum over pixels first to last of one picture's channels; x and y are (C, H * W).

        `counts`, (H * W), is each pixel's weight; it is empty without weights. `gradient`, (C, H * W), gets
        the derivatives times counts and `factor`; it is empty where no gradient is wanted.
        """
        result = 0.0
        for channel in range(x.shape[0]):
            for start in range(first, last, _BLOCK):
                stop = min(start + _BLOCK, last)
                x_block, y_block = x[channel, start:stop], y[channel, start:stop]
                total: Real = np.float32(0)
                if counts.size == 0 and gradient.size == 0:
                    for j in range(stop - start):
                        total += point(x_block[j], y_block[j], options)[0]
                elif counts.size == 0:
                    slopes = gradient[channel, start:stop]
                    for j in range(stop - start):
                        value, slope = point(x_block[j], y_block[j], options)
                        total += value
                        slopes[j] = slope * factor
                elif gradient.size == 0:
                    shares = counts[start:stop]
                    for j in range(stop - start):
                        total += shares[j] * point(x_block[j], y_block[j], options)[0]
                else:
                    shares, slopes = counts[start:stop], gradient[channel, start:stop]
                    for j in range(stop - start):
                        value, slope = point(x_block[j], y_block[j], options)
                        total += shares[j] * value
                        slopes[j] = slope * (shares[j] * factor)
                result += total
        return result

    return part


def mean_of_values(
    kernel: NativeKernel,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *options: float,
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean of each picture's values, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    pixels = height * width
    longest = max(_TILE // channels, 1)
    together = max(_TILE // (channels * pixels), 1)
    pieces, groups = -(-pixels // longest), -(-n // together)
    values = input.new_empty(n)
    gradient = None if scale is None else torch.empty_like(input)
    totals = [float(pixels)] * n if weight is None else totals_of(weight.view(n, pixels).numpy())
    # Plain arrays: the whole loss takes a fraction of a millisecond, so every library call costs noticeably.
    numbers = array("d", (scale or 0, *options, *(1 / (total * channels) for total in totals)))
    numbers.extend((0,) * pieces * n)
    pictures = (input, target, gradient, weight, values)
    arguments = array(
        "q",
        (
            *(0, 0, pieces * groups, pieces, longest, together, n, channels, pixels),
            *(0 if picture is None else picture.data_ptr() for picture in pictures),
            *(numbers.buffer_info()[0], len(options)),
        ),
    )
    run_native(kernel(), arguments.buffer_info()[0], pieces * groups)
    return values, gradient
