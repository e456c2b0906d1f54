"""Losses of single values: value and slope of each, in one pass over the pictures."""

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.kernels.compiling import Real, Reals, compiled, inlined
from lossarium.kernels.crew import Work, spread
from lossarium.kernels.cutting import steps
from lossarium.kernels.weighting import totals_of

Point = Callable[[Real, Real, Reals], tuple[Real, Real]]
"""(x, y, options) -> a value and its slope by x. Vector instructions take both sides of every branch."""
Kernel = Callable[..., Real]

# Values of a tile: so many that the interpreter's share of the time is small. They are read and written once,
# so caches do not matter.
_TILE = 1 << 18
# Values that are added up in float32 before float64 takes their sum.
_BLOCK = 1 << 8


def elementwise(point: Point) -> Kernel:  # noqa: C901 - four loops, one for each case
    """The kernel of a loss that is a mean over single values."""

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
        """The (counted) sum over pixels first to last of one picture's channels, x and y being (C, H * W).

        `counts` (H * W) is empty without weights, and `gradient` (C, H * W) where none is wanted; else it
        gets the slopes times counts and `factor`.
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

    def tile(
        x: Reals,
        y: Reals,
        counts: Reals,
        gradient: Reals,
        options: Reals,
        factors: Reals,
        sums: Reals,
        first_picture: int,
        end_picture: int,
        first: int,
        last: int,
    ) -> None:
        """`part` of pictures of (N, C, H * W), into `sums`, (N,)."""
        for picture in range(first_picture, end_picture):
            slopes = gradient[picture] if gradient.size > 0 else gradient[0]
            sums[picture] = part(
                x[picture], y[picture], counts[picture], slopes, options, factors[picture], first, last
            )

    return compiled(tile)


def mean_of_values(
    kernel: Kernel,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *options: float,
    precision: type[np.float32 | np.float64] = np.float32,
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean of each picture's values, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    pixels = height * width
    x, y = (picture.view(n, channels, pixels).numpy() for picture in (input, target))
    counts, totals = _counts(weight, n, pixels)
    gradient = None if scale is None else torch.empty_like(input)
    slopes = (
        np.zeros((1, 0, 0), np.float32) if gradient is None else gradient.view(n, channels, pixels).numpy()
    )
    shares = 1 / (totals * channels)
    factors = (shares * (scale or 0)).astype(np.float32)
    choices = np.array(options, precision)
    pieces = steps(pixels, max(_TILE // channels, 1))
    groups = steps(n, max(_TILE // (channels * pixels), 1))
    tiles = list(product(range(len(pieces)), groups))
    sums = np.zeros((len(pieces), n))

    def worker() -> Work:
        def work(tile: int) -> None:
            piece, pictures = tiles[tile]
            kernel(x, y, counts, slopes, choices, factors, sums[piece], *pictures, *pieces[piece])

        return work

    spread(len(tiles), worker)
    values = sums.sum(axis=0) * shares
    return torch.from_numpy(values.astype(np.float32)), gradient


def _counts(weight: Tensor | None, n: int, pixels: int) -> tuple[Reals, NDArray[np.float64]]:
    """What each pixel counts, (N, H * W), or nothing without weights; and each picture's sum of it, (N,)."""
    if weight is None:
        return np.zeros((n, 0), np.float32), np.full(n, float(pixels))
    counts = weight.view(n, pixels).numpy()
    return counts, totals_of(counts)
