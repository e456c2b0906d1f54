"""MS-SSIM: similarity at several scales. Contract: `lossarium.losses.fused.LossKernel`."""

import math
from functools import cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.halving import (
    add_gradient_of_halves,
    combine_plane,
    halve_plane,
    halved,
    halved_sides,
)
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import steps
from lossarium.compute.weighting import halved_weight
from lossarium.losses.structure.constants import C1, C2
from lossarium.losses.structure.ssim_cpu import Window, dissimilarity_of_planes, gaussian_taps, window_weights
from lossarium.losses.structure.windows_cpu import (
    Tile,
    scratch_size,
    similarity_sweep,
    strip_rows,
    tile_width,
)

# Planes of up to this many pixels keep all their scales in the cache: a tile takes them through all scales.
_LARGEST_AT_ONCE = 1 << 17
# Small planes share a tile, up to this many pixels.
_TILE_PIXELS = 1 << 15


def ms_ssim(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    exponents: tuple[float, ...],
    window: int,
    sigma: float,
    smallest: float,
) -> tuple[Tensor, Tensor | None]:
    """1 - MS-SSIM, with each scale's mean similarity clamped to at least `smallest`."""
    n, channels, height, width = input.shape
    taps = gaussian_taps(window, sigma)
    gradient = None if scale is None else torch.empty_like(input)
    share = None if scale is None else scale / channels
    if weight is None and height * width <= _LARGEST_AT_ONCE and width <= tile_width(window):
        values = _of_small_planes(input, target, gradient, share, exponents, taps, smallest)
    else:
        values = np.empty((n, channels))
        # One plane after the other, so that only one has its coarser scales in memory.
        for picture, channel in product(range(n), range(channels)):
            plane = (slice(picture, picture + 1), slice(channel, channel + 1))
            values[picture, channel] = _of_large_plane(
                input[plane],
                target[plane],
                None if weight is None else weight[picture : picture + 1],
                None if gradient is None else gradient[plane],
                share,
                exponents,
                taps,
                smallest,
            )
    return torch.from_numpy(values.mean(axis=1).astype(np.float32)), gradient


def _of_small_planes(
    input: Tensor,
    target: Tensor,
    gradient: Tensor | None,
    share: float | None,
    exponents: tuple[float, ...],
    taps: tuple[float, ...],
    smallest: float,
) -> Reals:
    """The planes' values, (N, C). Fills `gradient` with their gradients times `share`."""
    n, channels, height, width = input.shape
    planes = n * channels
    x, y = (picture.view(planes, height, width).numpy() for picture in (input, target))
    slopes = (
        np.zeros((1, 0, 0), np.float32) if gradient is None else gradient.view(planes, height, width).numpy()
    )
    kernel = _all_scales(len(taps))
    single_taps, double_exponents = np.array(taps, np.float32), np.array(exponents)
    tiles = steps(planes, max(_TILE_PIXELS // (height * width), 1))
    values = np.empty(planes)
    strip_height = strip_rows(len(taps), width)

    def worker() -> Work:
        scratch = np.empty(scratch_size(len(taps)), np.float32)
        pyramid = np.empty(_pyramid_size(height, width, len(exponents)), np.float32)

        def work(tile: int) -> None:
            kernel(
                x, y, slopes, scratch, pyramid, single_taps, double_exponents, smallest,
                share or 0.0, strip_height, *tiles[tile], values,
            )  # fmt: skip

        return work

    run_tiles(len(tiles), worker)
    return values.reshape(n, channels)


def _pyramid_size(height: int, width: int, scales: int) -> int:
    """Numbers in the coarser scales of two planes and of their gradient."""
    numbers = 0
    for _ in range(scales - 1):
        height, width = halved_sides(height, width)
        numbers += 3 * height * width
    return numbers


@inlined
def _scale_of(pyramid: Reals, start: int, height: int, width: int) -> Reals:
    return pyramid[start : start + height * width].reshape(height, width)


@inlined
def _way_back(finest: Reals, pyramid: Reals, starts: Reals, sides: Reals, slopes: Reals) -> None:
    """Add up each scale's gradient times its slope, from the coarsest scale to the finest."""
    coarse = pyramid[:0].reshape(0, 0)
    for level in range(slopes.size - 1, 0, -1):
        start, height, width = starts[level], sides[level, 0], sides[level, 1]
        fine = _scale_of(pyramid, start + 2 * height * width, height, width)
        combine_plane(fine, np.float32(slopes[level]), coarse)
        coarse = fine
    combine_plane(finest, np.float32(slopes[0]), coarse)


@cache
def _all_scales(size: int) -> Tile:
    """The kernel for windows of `size` pixels a side: from the finest scale to the coarsest and back."""
    contrast, similarity = similarity_sweep(size, luminance=False), similarity_sweep(size, luminance=True)
    reach = size - 1
    c1, c2 = np.float32(C1), np.float32(C2)

    @inlined
    def lack(
        x: Reals, y: Reals, gradient: Reals, scratch: Reals, taps: Reals, strip_height: int, coarsest: bool
    ) -> Real:
        """The mean over a plane's windows of 1 - similarity, and its gradient."""
        height, width = x.shape
        unweighted, no_shares = scratch[:0].reshape(0, 0), scratch[:0]
        factor = np.float32(1 / ((height - reach) * (width - reach)))
        if coarsest:
            return similarity(
                x,
                y,
                unweighted,
                gradient,
                no_shares,
                scratch,
                taps,
                factor,
                c1,
                c2,
                0,
                height,
                0,
                width,
                strip_height,
            )
        return contrast(
            x,
            y,
            unweighted,
            gradient,
            no_shares,
            scratch,
            taps,
            factor,
            c1,
            c2,
            0,
            height,
            0,
            width,
            strip_height,
        )

    def planes(
        x: Reals,
        y: Reals,
        gradient: Reals,
        scratch: Reals,
        pyramid: Reals,
        taps: Reals,
        exponents: Reals,
        smallest: float,
        share: float,
        strip_height: int,
        first: int,
        end: int,
        values: Reals,
    ) -> None:
        """The values of planes first to end of (P, H, W), and their gradients times `share`."""
        scales = exponents.size
        sloped = gradient.size > 0
        similarities = np.empty(scales)
        sides = np.empty((scales, 2), np.int64)
        starts = np.zeros(scales + 1, np.int64)
        sides[0] = x.shape[1], x.shape[2]
        for level in range(1, scales):
            sides[level] = (sides[level - 1] + 1) // 2
            starts[level + 1] = starts[level] + 3 * sides[level, 0] * sides[level, 1]
        for plane in range(first, end):
            fine_x, fine_y = x[plane], y[plane]
            slopes = gradient[plane] if sloped else gradient[0]
            similarities[0] = 1 - lack(fine_x, fine_y, slopes, scratch, taps, strip_height, scales == 1)
            for level in range(1, scales):
                start, height, width = starts[level], sides[level, 0], sides[level, 1]
                coarse_x = _scale_of(pyramid, start, height, width)
                coarse_y = _scale_of(pyramid, start + height * width, height, width)
                halve_plane(fine_x, coarse_x)
                halve_plane(fine_y, coarse_y)
                if sloped:
                    slopes = _scale_of(pyramid, start + 2 * height * width, height, width)
                fine_x, fine_y = coarse_x, coarse_y
                similarities[level] = 1 - lack(
                    fine_x, fine_y, slopes, scratch, taps, strip_height, level == scales - 1
                )
            logarithm = 0.0
            for level in range(scales):
                logarithm += exponents[level] * math.log(max(similarities[level], smallest))
            values[plane] = 1 - math.exp(logarithm)
            if sloped:
                slopes_of_scales = math.exp(logarithm) * share * exponents / similarities
                slopes_of_scales[similarities <= smallest] = 0
                _way_back(gradient[plane], pyramid, starts, sides, slopes_of_scales)

    return compiled(planes)


def _of_large_plane(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    gradient: Tensor | None,
    share: float | None,
    exponents: tuple[float, ...],
    taps: tuple[float, ...],
    smallest: float,
) -> float:
    """The value of one plane, (1, 1, H, W). Fills `gradient` with its gradient times `share`."""
    similarities = np.empty(len(exponents))
    gradients = []
    for level in range(len(exponents)):
        if level > 0:
            input, target, weight = halved(input), halved(target), halved_weight(weight)
            gradient = None if gradient is None else torch.empty_like(input)
        window = Window(taps, C1, C2, luminance=level == len(exponents) - 1)
        height, width = input.shape[2:]
        centres, totals = window_weights(weight, 1, height, width, window.size)
        lack = dissimilarity_of_planes(input, target, centres, gradient, 1 / totals, window)
        similarities[level] = 1 - lack[0]
        gradients.append(gradient)
    clamped = np.maximum(similarities, smallest)
    similarity = math.exp(np.dot(exponents, np.log(clamped)))
    slopes = similarity * np.array(exponents) / clamped * (similarities > smallest) * (share or 0)
    coarser = None
    for finer, slope in zip(reversed(gradients), reversed(slopes), strict=True):
        if finer is not None:
            add_gradient_of_halves(finer, slope, coarser)
        coarser = finer
    return 1 - similarity
