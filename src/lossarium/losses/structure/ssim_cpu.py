"""Kernels for SSIM and UQI, which compare sliding windows. Contract: `lossarium.losses.fused.LossKernel`."""

from array import array
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.threads import run_native
from lossarium.compute.tiling import even_parts_up_to
from lossarium.compute.weighting import totals_of
from lossarium.losses.structure.constants import C1, C2
from lossarium.losses.structure.windows_cpu import similarity, strip_rows, tile_width

# Rows in a tile: enough that the windows reaching into it from outside add little work, few enough that a
# picture has tiles for all threads. Tiles have the same size on every machine, since a tile has a sum and a
# reference level of its own. What follows from the caches is `strip_rows`, which changes no bit.
_TILE_HEIGHT = 270
# Small planes share a tile, up to this many pixels.
_TILE_PIXELS = 1 << 13


@dataclass(frozen=True)
class Window:
    """A sliding window, the same along rows and columns, and the constants of the similarity under it."""

    taps: tuple[float, ...]
    c1: float
    c2: float
    luminance: bool = True
    double: bool = False

    @property
    def size(self) -> int:
        return len(self.taps)


@cache
def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """A Gaussian at `size` points around its centre, normalised to the sum 1."""
    offsets = np.arange(size) - (size - 1) / 2
    gaussian = np.exp(-np.square(offsets) / (2 * sigma**2))
    return tuple(gaussian / gaussian.sum())


def ssim(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    window: int,
    sigma: float,
    shares: tuple[float, ...] = (),
) -> tuple[Tensor, Tensor | None]:
    """The mean of 1 - SSIM over windows and channels, or over windows of one plane mixed by `shares`."""
    shape = Window(gaussian_taps(window, sigma), C1, C2)
    return mean_dissimilarity(input, target, weight, scale, shape, shares)


def mean_dissimilarity(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    window: Window,
    shares: tuple[float, ...] = (),
) -> tuple[Tensor, Tensor | None]:
    """The (weighted) mean over channels and windows of 1 - similarity, and its gradient times `scale`."""
    n, channels, height, width = input.shape
    centres, totals = window_weights(weight, n, height, width, window.size)
    planes = 1 if shares else channels
    factors = np.repeat(1 / (totals * planes), planes)
    gradient = None if scale is None else torch.empty_like(input)
    sums = dissimilarity_of_planes(input, target, centres, gradient, factors * (scale or 1), window, shares)
    values = sums.reshape(n, planes).sum(axis=1) / (scale or 1)
    return torch.from_numpy(values.astype(np.float32)), gradient


def window_weights(
    weight: Tensor | None, n: int, height: int, width: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Each window's weight, (N, H - size + 1, W - size + 1), and the sums of these, (N,).

    A window has the weight of the pixel at its centre; without weights, the first array is empty.
    """
    if weight is None:
        windows = (height - size + 1) * (width - size + 1)
        return np.zeros((n, 0, 0), np.float32), np.full(n, float(windows))
    if size % 2 == 0:
        # The centre of an even window is between four pixels.
        weight = F.avg_pool2d(weight, kernel_size=2, stride=1)
    margin = (size - 1) // 2
    rows, columns = height - size + 1, width - size + 1
    centres = weight[:, 0, margin : margin + rows, margin : margin + columns].contiguous().numpy()
    return centres, totals_of(centres)


def dissimilarity_of_planes(
    input: Tensor,
    target: Tensor,
    centres: NDArray[np.float32],
    gradient: Tensor | None,
    factors: NDArray[np.float64],
    window: Window,
    shares: tuple[float, ...] = (),
) -> NDArray[np.float64]:
    """Sums over each plane's windows of factor * weight * (1 - similarity), (planes,), and their gradient.

    The planes are the N * C channels, or, with `shares`, the N pictures, each a mix of its channels.
    """
    n, channels, height, width = input.shape
    planes = n if shares else n * channels
    kernel = similarity(window.size, window.luminance, window.double, mixed=bool(shares))
    blocks = even_parts_up_to(width, tile_width(window.size))
    pieces = list(product(even_parts_up_to(height, _TILE_HEIGHT), blocks))
    widest = max(right - left for left, right in blocks)
    together = max(_TILE_PIXELS // (height * width), 1)
    tiles = len(pieces) * -(-planes // together)
    # The kernel always reads shares; without mixing it ignores their values.
    channel_shares = shares or (1.0,)
    few = (window.c1, window.c2, *window.taps, *channel_shares)
    numbers = np.concatenate([few, factors, np.zeros(len(pieces) * planes)])
    addresses = (
        input.data_ptr(),
        target.data_ptr(),
        0 if gradient is None else gradient.data_ptr(),
        centres.ctypes.data if centres.size else 0,
        numbers.ctypes.data,
    )
    arguments = array(
        "q",
        (
            *(0, tiles, len(pieces), together, planes, len(channel_shares), height, width, len(centres)),
            *(*addresses, strip_rows(window.size, widest, window.double)),
            *(place for rows, columns in pieces for place in (*rows, *columns)),
        ),
    )
    run_native(kernel(), arguments.buffer_info()[0], tiles)
    sums = numbers[len(few) + planes :].reshape(len(pieces), planes)
    by_plane: NDArray[np.float64] = sums.sum(axis=0)
    return by_plane
