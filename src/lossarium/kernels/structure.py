"""Kernels for losses that look through windows. Contract: `lossarium.losses.fused.Kernel`."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.kernels.crew import Work, spread
from lossarium.kernels.windows import scratch_size, similarity, tile_width

# Rows of a tile: so many that the windows which reach into it from outside add little, so few that a picture
# has enough tiles for all threads.
_TILE_HEIGHT = 270


@dataclass(frozen=True)
class Window:
    """The window that a similarity looks through, the same along rows and columns."""

    taps: tuple[float, ...]
    c1: float
    c2: float
    luminance: bool = True
    double: bool = False

    @property
    def size(self) -> int:
        return len(self.taps)


def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """A Gaussian at `size` places about its centre, normalised to the sum 1."""
    offsets = np.arange(size) - (size - 1) / 2
    gaussian = np.exp(-np.square(offsets) / (2 * sigma**2))
    return tuple(gaussian / gaussian.sum())


def fits(size: int) -> bool:
    """Whether there is a kernel for windows of this size."""
    return tile_width(size) >= size


def ssim(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, window: int, sigma: float
) -> tuple[Tensor, Tensor | None]:
    """The mean over channels and windows of 1 - SSIM."""
    shape = Window(gaussian_taps(window, sigma), 0.01**2, 0.03**2)
    return mean_dissimilarity(input, target, weight, scale, shape)


def mean_dissimilarity(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, window: Window
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean over channels and windows of 1 - similarity, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    centres, totals = window_weights(weight, n, height, width, window.size)
    factors = np.repeat(1 / (totals * channels), channels)
    gradient = None if scale is None else torch.empty_like(input)
    sums = dissimilarity_of_planes(input, target, centres, gradient, factors * (scale or 1), window)
    values = sums.reshape(n, channels).sum(axis=1) / (scale or 1)
    return torch.from_numpy(values.astype(np.float32)), gradient


def window_weights(
    weight: Tensor | None, n: int, height: int, width: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What each window counts, (N, H - size + 1, W - size + 1), and the sums thereof, (N,).

    A window counts what the pixel at its centre counts; without weights, the first array is empty. A picture
    without any weight has an infinite sum, so that it counts nothing.
    """
    if weight is None:
        windows = (height - size + 1) * (width - size + 1)
        return np.zeros((n, 0, 0), np.float32), np.full(n, float(windows))
    centre, other = size // 2, (size - 1) // 2
    centres = weight[:, 0, centre : height - other, centre : width - other].contiguous().numpy()
    totals = centres.sum(axis=(1, 2), dtype=np.float64)
    return centres, np.where(totals > 0, totals, np.inf)


def dissimilarity_of_planes(
    input: Tensor,
    target: Tensor,
    centres: NDArray[np.float32],
    gradient: Tensor | None,
    factors: NDArray[np.float64],
    window: Window,
) -> NDArray[np.float64]:
    """Sums over each plane's windows of factor * count * (1 - similarity), (N * C,), and their gradient."""
    n, channels, height, width = input.shape
    planes = n * channels
    x, y = (picture.view(planes, height, width).numpy() for picture in (input, target))
    slopes = (
        np.zeros((planes, 0, 0), np.float32)
        if gradient is None
        else gradient.view(planes, height, width).numpy()
    )
    real = np.float64 if window.double else np.float32
    kernel = similarity(window.size, window.luminance, window.double)
    taps, c1, c2 = np.array(window.taps, real), real(window.c1), real(window.c2)
    bands, columns = _cut(height, _TILE_HEIGHT), _cut(width, tile_width(window.size))
    tiles = [(plane, *band, *column) for plane in range(planes) for band in bands for column in columns]
    sums = np.zeros(len(tiles))

    def worker() -> Work:
        scratch = np.empty(scratch_size(window.size), real)

        def work(tile: int) -> None:
            plane, top, bottom, left, right = tiles[tile]
            sums[tile] = kernel(
                x[plane], y[plane], centres[plane // channels], slopes[plane],
                scratch, taps, real(factors[plane]), c1, c2, top, bottom, left, right,
            )  # fmt: skip

        return work

    spread(len(tiles), worker)
    by_plane: NDArray[np.float64] = sums.reshape(planes, -1).sum(axis=1)
    return by_plane


def _cut(length: int, longest: int) -> list[tuple[int, int]]:
    """Cut a side into parts of nearly the same length, none longer than `longest`."""
    parts = -(-length // longest)
    cuts = [length * part // parts for part in range(parts + 1)]
    return list(pairwise(cuts))
