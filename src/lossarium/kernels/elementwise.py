"""Losses of single values: value and slope of each, in one pass over the pictures."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.kernels.compiling import Real, Reals, compiled
from lossarium.kernels.crew import Work, spread
from lossarium.kernels.weighting import totals_of

Point = Callable[[Real, Real, Reals], tuple[Real, Real]]
"""(x, y, options) -> a value and its slope by x. Vector instructions take both sides of every branch."""
Kernel = Callable[..., Real]

# Values of a tile: input, target and gradient stay within the L2 cache's 1 MiB, and the interpreter's share
# of the time is small.
_TILE = 1 << 16
_LEAST_TILES = 8
# Values that are added up in float32 before float64 takes their sum.
_BLOCK = 1 << 8


def elementwise(point: Point) -> Kernel:  # noqa: C901 - four loops, one for each case
    """The kernel of a loss that is a mean over single values."""

    def tile(
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
        np.zeros((n, 0, 0), np.float32) if gradient is None else gradient.view(n, channels, pixels).numpy()
    )
    shares = 1 / (totals * channels)
    factors = (shares * (scale or 0)).astype(np.float32)
    choices = np.array(options, precision)
    length = max(_TILE // channels, 1)
    tiles = [
        (picture, first, min(first + length, pixels))
        for picture in range(n)
        for first in range(0, pixels, length)
    ]
    sums = np.zeros(len(tiles))

    def worker() -> Work:
        def work(tile: int) -> None:
            picture, first, last = tiles[tile]
            sums[tile] = kernel(
                x[picture], y[picture], counts[picture], slopes[picture],
                choices, factors[picture], first, last,
            )  # fmt: skip

        return work

    spread(len(tiles), worker, _LEAST_TILES)
    values = sums.reshape(n, -1).sum(axis=1) * shares
    return torch.from_numpy(values.astype(np.float32)), gradient


def _counts(weight: Tensor | None, n: int, pixels: int) -> tuple[Reals, NDArray[np.float64]]:
    """What each pixel counts, (N, H * W), or nothing without weights; and each picture's sum of it, (N,)."""
    if weight is None:
        return np.zeros((n, 0), np.float32), np.full(n, float(pixels))
    counts = weight.view(n, pixels).numpy()
    return counts, totals_of(counts)
