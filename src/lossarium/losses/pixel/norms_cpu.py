"""Kernels for the means and maxima of plain errors. Contract: `lossarium.losses.fused.LossKernel`."""

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import sign
from lossarium.compute.elementwise import elementwise, mean_of_values
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.weighting import shares_of_most

Measured = tuple[Tensor, Tensor | None]

_TWO = np.float32(2)


@inlined
def _squared(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    error = x - y
    return error * error, _TWO * error


@inlined
def _absolute(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    error = x - y
    return abs(error), sign(error)


_SQUARED = elementwise(_squared)
_ABSOLUTE = elementwise(_absolute)


def mse(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_SQUARED, input, target, weight, scale)


def mae(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_ABSOLUTE, input, target, weight, scale)


@compiled
def _largest(x: Reals, y: Reals, shares: Reals) -> tuple[Real, int]:
    """The largest absolute error (times shares) of a picture, (C, H * W), and how often it occurs."""
    largest, times = np.float32(0), 0
    for channel in range(x.shape[0]):
        for j in range(x.shape[1]):
            distance = abs(x[channel, j] - y[channel, j])
            if shares.size > 0:
                distance *= shares[j]
            if distance > largest or distance != distance:
                largest, times = distance, 1
            elif distance == largest:
                times += 1
    return largest, times


@compiled
def _mark_largest(x: Reals, y: Reals, shares: Reals, gradient: Reals, largest: Real, slope: Real) -> None:
    """Write the gradient: `slope` (times the share) with the error's sign where the error is the largest.

    Where the largest is NaN, so is the whole gradient.
    """
    for channel in range(x.shape[0]):
        for j in range(x.shape[1]):
            error = x[channel, j] - y[channel, j]
            share = shares[j] if shares.size > 0 else np.float32(1)
            at_largest = abs(error) * share == largest
            slope_here = sign(error) * share * slope if at_largest else np.float32(0)
            gradient[channel, j] = slope_here if largest == largest else largest


def linf(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    n, channels, height, width = input.shape
    x, y = (picture.view(n, channels, height * width).numpy() for picture in (input, target))
    weighted = shares_of_most(weight)
    shares = np.zeros((n, 0), np.float32) if weighted is None else weighted.reshape(n, -1)
    gradient = None if scale is None else torch.empty_like(input)
    slopes = None if gradient is None else gradient.view(n, channels, height * width).numpy()
    values = np.zeros(n, np.float32)

    def worker() -> Work:
        def work(picture: int) -> None:
            pictures = (x[picture], y[picture], shares[picture])
            values[picture], times = _largest(*pictures)
            if slopes is not None:
                slope = np.float32((scale or 0) / times)
                _mark_largest(*pictures, slopes[picture], values[picture], slope)

        return work

    run_tiles(n, worker)
    return torch.from_numpy(values), gradient
