"""The mix of MS-SSIM and a Gaussian-weighted absolute error, with a single gradient.

Contract: `lossarium.losses.fused.LossKernel`.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.weighting import totals_of
from lossarium.losses.structure.ms_ssim_cpu import ms_ssim

_ZERO = np.float32(0)


def mix(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    alpha: float,
    patch_sigma: float,
    exponents: tuple[float, ...],
    window: int,
    sigma: float,
    smallest: float,
) -> tuple[Tensor, Tensor | None]:
    """alpha * (1 - MS-SSIM) + (1 - alpha) * the absolute error averaged under a Gaussian.

    The mean over all Gaussian patches equals a weighted mean of the absolute error, where a pixel's weight is
    the sum of what all patches give it (`patch_weights`).
    """
    structure, gradient = ms_ssim(
        input,
        target,
        weight,
        None if scale is None else alpha * scale,
        exponents=exponents,
        window=window,
        sigma=sigma,
        smallest=smallest,
    )
    shares = patch_weights(weight, input.shape[2], input.shape[3], patch_sigma)
    channels = input.shape[1]
    factors = np.repeat((1 - alpha) / (totals_of(shares) * channels), len(input) // len(shares))
    errors = _add_errors(input, target, shares, factors, scale or 0.0, gradient)
    return alpha * structure + torch.from_numpy(errors.astype(np.float32)), gradient


def patch_weights(weight: Tensor | None, height: int, width: int, sigma: float) -> NDArray[np.float32]:
    """Each pixel's weight summed over all patches, (N, H, W), or (1, H, W) where all pictures share it."""
    rows, columns = _patches(height, sigma), _patches(width, sigma)
    if weight is None:
        of_rows, of_columns = (_column_sums(patches).astype(np.float32) for patches in (rows, columns))
        return np.outer(of_rows, of_columns)[None]
    shares = np.empty((len(weight), height, width), np.float32)
    planes = weight.numpy()

    def worker() -> Work:
        half = np.empty((height, width), np.float32)

        def work(picture: int) -> None:
            _gather_patches(rows, columns, planes[picture, 0], half, shares[picture])

        return work

    run_tiles(len(shares), worker)
    return shares


@cache
def _patches(length: int, sigma: float) -> NDArray[np.float32]:
    """A Gaussian around each position, its part inside normalised to 1, (length, 2 radius + 1)."""
    radius = int(2 * sigma)
    distances = np.arange(-radius, radius + 1)
    places = np.arange(length)[:, None] + distances
    gaussian = np.exp(-np.square(distances) / (2 * sigma**2)) * ((places >= 0) & (places < length))
    patches: NDArray[np.float64] = gaussian / gaussian.sum(axis=1, keepdims=True)
    return patches.astype(np.float32)


def _column_sums(patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of what all patches give each position, (length,)."""
    length, reach = patches.shape
    sums = np.zeros(length + reach - 1)
    for place in range(reach):
        sums[place : place + length] += patches[:, place]
    return sums[reach // 2 : reach // 2 + length]


@compiled
def _gather_patches(rows: Reals, columns: Reals, plane: Reals, half: Reals, gathered: Reals) -> None:
    """rows^T plane columns for banded matrices, in a fixed order; a BLAS product may sum in any order."""
    height, width = plane.shape
    row_radius, column_radius = rows.shape[1] // 2, columns.shape[1] // 2
    for i in range(height):
        row = half[i]
        row[:] = _ZERO
        for k in range(max(i - row_radius, 0), min(i + row_radius + 1, height)):
            share, source = rows[k, i - k + row_radius], plane[k]
            for j in range(width):
                row[j] += share * source[j]
    for i in range(height):
        row, source = gathered[i], half[i]
        row[:] = _ZERO
        for k in range(width):
            value, first = source[k], max(k - column_radius, 0)
            shares = columns[k, first - k + column_radius :]
            for j in range(first, min(k + column_radius + 1, width)):
                row[j] += value * shares[j - first]


def _add_errors(
    input: Tensor,
    target: Tensor,
    shares: NDArray[np.float32],
    factors: NDArray[np.float64],
    scale: float,
    gradient: Tensor | None,
) -> NDArray[np.float64]:
    """The sums of each picture's absolute errors times shares and factor, (N,).

    Adds their gradient times `scale` to `gradient`, unless that is None.
    """
    n, channels, height, width = input.shape
    planes = n * channels
    x, y = (picture.view(planes, height, width).numpy() for picture in (input, target))
    slopes = (
        np.zeros((1, 0, 0), np.float32) if gradient is None else gradient.view(planes, height, width).numpy()
    )
    sums = np.zeros(planes)

    def work(plane: int) -> None:
        picture = plane // channels
        own_shares = shares[picture % len(shares)]
        own_slopes = slopes[plane] if gradient is not None else slopes[0]
        factor = np.float32(factors[picture] * scale)
        sums[plane] = _add_plane(x[plane], y[plane], own_shares, factor, own_slopes)

    run_tiles(planes, lambda: work)
    errors: NDArray[np.float64] = sums.reshape(n, channels).sum(axis=1) * factors
    return errors


@compiled
def _add_plane(x: Reals, y: Reals, shares: Reals, factor: Real, gradient: Reals) -> float:
    """The sum of shares * |x - y|. Adds factor * shares * sign(x - y) to the gradient, unless it is empty."""
    height, width = x.shape
    result = 0.0
    for i in range(height):
        a, b, row = x[i], y[i], shares[i]
        total: Real = _ZERO
        for j in range(width):
            total += row[j] * abs(a[j] - b[j])
        result += total
        if gradient.size > 0:
            slopes = gradient[i]
            for j in range(width):
                error = a[j] - b[j]
                sign = np.float32(error > _ZERO) - np.float32(error < _ZERO)
                slopes[j] += factor * row[j] * sign
    return result
