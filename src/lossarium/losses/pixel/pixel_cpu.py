"""Kernels for losses that compare pixel with pixel. Contract: `lossarium.losses.fused.LossKernel`."""

import math

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import exp, log, log1p_of_share
from lossarium.compute.elementwise import elementwise, mean_of_values
from lossarium.compute.threads import Work, spread
from lossarium.compute.weighting import shares_of_most

Measured = tuple[Tensor, Tensor | None]

_ZERO, _HALF, _ONE, _TWO, _FOUR = (np.float32(number) for number in (0, 0.5, 1, 2, 4))
_LOG_2 = np.float32(math.log(2))
# Up to here the Taylor series of log cosh and tanh are as exact as float32 is.
_NEAR = np.float32(0.4)
# As in the plain formula: beyond this exponent the loss goes on as a straight line.
_LARGEST_EXPONENT = 30.0
_NEAR_ZERO, _FAR_OUT, _AROUND_SQUARE = 1e-18, 1e18, 0.1
_LARGEST_POWER = math.exp(_LARGEST_EXPONENT)
# Gauss-Legendre nodes and weights on [0, 1]; twelve integrate exp(T u (1 - u)) to 1e-8 for T <= 16.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
_PLACES, _SHARES = ((_NODES + 1) / 2).astype(np.float32), (_NODE_WEIGHTS / 2).astype(np.float32)


@inlined
def _sign(error: Real) -> Real:
    # As a difference of comparisons, since nested branches would rule out vector instructions.
    return np.float32(error > _ZERO) - np.float32(error < _ZERO)


@inlined
def _squared(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    error = x - y
    return error * error, _TWO * error


@inlined
def _absolute(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    error = x - y
    return abs(error), _sign(error)


@inlined
def _signed(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    return x - y, _ONE


@inlined
def _relative(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    error, size = x - y, max(abs(y), options[0])
    return abs(error) / size, _sign(error) / size


@inlined
def _relative_signed(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    size = max(abs(y), options[0])
    return (x - y) / size, _ONE / size


@inlined
def _huber(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    error = x - y
    inner = min(max(error, -options[0]), options[0])
    return inner * (error - _HALF * inner) * options[1], inner * options[1]


@inlined
def _logcosh(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    z = (x - y) * options[1]
    size, square = abs(z), z * z
    share = exp(-_TWO * size)
    far = size + log1p_of_share(share) - _LOG_2
    # Near 0 a Taylor series, since the formula above is a difference of two numbers near log 2 there.
    near = np.float32(-691 / 935550)
    near = near * square + np.float32(31 / 14175)
    near = near * square + np.float32(-17 / 2520)
    near = near * square + np.float32(1 / 45)
    near = near * square + np.float32(-1 / 12)
    near = (near * square + _HALF) * square
    near_slope = np.float32(-1382 / 155925)
    near_slope = near_slope * square + np.float32(62 / 2835)
    near_slope = near_slope * square + np.float32(-17 / 315)
    near_slope = near_slope * square + np.float32(2 / 15)
    near_slope = near_slope * square + np.float32(-1 / 3)
    near_slope = (near_slope * square + _ONE) * z
    far_slope = np.copysign((_ONE - share) / (_ONE + share), z)
    value = near if size < _NEAR else far
    slope = near_slope if size < _NEAR else far_slope
    return options[0] * value, slope


@inlined
def _charbonnier(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: eps, its square, and a factor on the result."""
    error = x - y
    square = error * error
    root = np.sqrt(square + options[1])
    return options[2] * square / (root + options[0]), options[2] * error / root


@inlined
def _pinball(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: what an input below the target costs, and one above it."""
    error = x - y
    slope = options[1] * np.float32(error > _ZERO) - options[0] * np.float32(error < _ZERO)
    return slope * error, slope


@inlined
def _cauchy(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: 1 / c. A series for log1p where rounding 1 + half would lose digits."""
    z = (x - y) * options[0]
    half = _HALF * z * z
    value = _TWO * log1p_of_share(half) * _HALF if half < _ONE else log(_ONE + half)
    return value, options[0] * z / (_ONE + half)


@inlined
def _welsch(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: 1 / c."""
    z = (x - y) * options[0]
    half = _HALF * z * z
    share = exp(-half)
    near = half * (_ONE - half * (_HALF - half * (np.float32(1 / 6) - half * np.float32(1 / 24))))
    return (near if half < np.float32(0.05) else _ONE - share), options[0] * z * share


@inlined
def _geman_mcclure(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: 1 / c."""
    z = (x - y) * options[0]
    per = _ONE / (z * z + _FOUR)
    return _TWO * z * z * per, options[0] * z * (_FOUR * per) * (_FOUR * per)


@inlined
def _any_general(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: alpha, 1 / c, in float64, which makes up for the digits lost near alpha's special values."""
    alpha, per_scale = options[0], options[1]
    error = (float(x) - float(y)) * per_scale
    square = error * error
    from_square = abs(alpha - 2.0)
    growth = math.log1p(square / from_square)
    exponent = 0.5 * alpha * growth
    inner = min(exponent, _LARGEST_EXPONENT)
    value = from_square / alpha * (math.expm1(inner) + _LARGEST_POWER * (exponent - inner))
    slope = error * per_scale * math.exp(inner - growth)
    return np.float32(value), np.float32(slope)


@inlined
def _nearly_square(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: an alpha near 2, 1 / c, in float64. The power relative to the square, as the plain formula."""
    alpha, per_scale = options[0], options[1]
    error = (float(x) - float(y)) * per_scale
    square = error * error
    from_square = abs(alpha - 2.0)
    exponent = 0.5 * (alpha - 2.0) * math.log1p(square / from_square)
    value = (square + (square + from_square) * math.expm1(exponent)) / alpha
    return np.float32(value), np.float32(error * per_scale * math.exp(exponent))


@inlined
def _exponential(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: 1 / c, in float64."""
    error = (float(x) - float(y)) * options[0]
    half = 0.5 * error * error
    inner = min(half, _LARGEST_EXPONENT)
    value = math.expm1(inner) + _LARGEST_POWER * (half - inner)
    return np.float32(value), np.float32(options[0] * error * math.exp(inner))


@inlined
def _unequal(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    """options: the temperature. The integral of exp(T u (1 - u)) from 0 to the error, by quadrature."""
    error = x - y
    distance = abs(error)
    inner = min(distance, _ONE)
    mean = _ZERO
    for k in range(12):
        place = inner * _PLACES[k]
        mean += _SHARES[k] * exp(options[0] * place * (_ONE - place))
    value = mean * inner + (distance - inner)
    return value, _sign(error) * exp(options[0] * inner * (_ONE - inner))


_SQUARED = elementwise(_squared)
_ABSOLUTE = elementwise(_absolute)
_SIGNED = elementwise(_signed)
_RELATIVE = elementwise(_relative)
_RELATIVE_SIGNED = elementwise(_relative_signed)
_HUBER = elementwise(_huber)
_LOGCOSH = elementwise(_logcosh)
_CHARBONNIER = elementwise(_charbonnier)
_PINBALL = elementwise(_pinball)
_CAUCHY = elementwise(_cauchy)
_WELSCH = elementwise(_welsch)
_GEMAN_MCCLURE = elementwise(_geman_mcclure)
_EXPONENTIAL = elementwise(_exponential, np.float64)
_ANY_GENERAL = elementwise(_any_general, np.float64)
_NEARLY_SQUARE = elementwise(_nearly_square, np.float64)
_UNEQUAL = elementwise(_unequal)


def mse(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_SQUARED, input, target, weight, scale)


def mae(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_ABSOLUTE, input, target, weight, scale)


def mbe(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_SIGNED, input, target, weight, scale)


def mape(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, eps: float
) -> Measured:
    return mean_of_values(_RELATIVE, input, target, weight, scale, eps)


def mpe(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, eps: float) -> Measured:
    return mean_of_values(_RELATIVE_SIGNED, input, target, weight, scale, eps)


def huber(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, delta: float
) -> Measured:
    return mean_of_values(_HUBER, input, target, weight, scale, delta, 1.0)


def smooth_l1(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, beta: float
) -> Measured:
    return mean_of_values(_HUBER, input, target, weight, scale, beta, 1 / beta)


def logcosh(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, turn: float
) -> Measured:
    return mean_of_values(_LOGCOSH, input, target, weight, scale, turn, 1 / turn)


def charbonnier(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, eps: float
) -> Measured:
    return mean_of_values(_CHARBONNIER, input, target, weight, scale, eps, eps**2, 1.0)


def quantile(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, q: float
) -> Measured:
    return mean_of_values(_PINBALL, input, target, weight, scale, q, 1 - q)


def general(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, alpha: float, c: float
) -> Measured:
    pictures = (input, target, weight, scale)
    if alpha == 2:
        return mean_of_values(_HUBER, *pictures, math.inf, 1 / c**2)
    if alpha == 1:
        return mean_of_values(_CHARBONNIER, *pictures, c, c**2, 1 / c)
    if abs(alpha) < _NEAR_ZERO:
        return mean_of_values(_CAUCHY, *pictures, 1 / c)
    if alpha == -2:
        return mean_of_values(_GEMAN_MCCLURE, *pictures, 1 / c)
    if alpha < -_FAR_OUT:
        return mean_of_values(_WELSCH, *pictures, 1 / c)
    if alpha > _FAR_OUT:
        return mean_of_values(_EXPONENTIAL, *pictures, 1 / c)
    any_other = _NEARLY_SQUARE if abs(alpha - 2) < _AROUND_SQUARE else _ANY_GENERAL
    return mean_of_values(any_other, *pictures, alpha, 1 / c)


def imae(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, temperature: float
) -> Measured:
    """For temperatures up to 16, where twelve nodes are enough."""
    return mean_of_values(_UNEQUAL, input, target, weight, scale, temperature)


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
    """Write the gradient: `slope` (times the share) with the error's sign where the error is the largest."""
    for channel in range(x.shape[0]):
        for j in range(x.shape[1]):
            error = x[channel, j] - y[channel, j]
            share = shares[j] if shares.size > 0 else np.float32(1)
            at_largest = abs(error) * share == largest
            gradient[channel, j] = _sign(error) * share * slope if at_largest else np.float32(0)


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

    spread(n, worker)
    return torch.from_numpy(values), gradient
