"""Kernels for robust pixel losses. Contract: `lossarium.losses.fused.LossKernel`."""

import math

import numpy as np
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, inlined
from lossarium.compute.elementary import exp, log, log1p_of_share
from lossarium.compute.elementwise import elementwise, mean_of_values
from lossarium.losses.pixel.constants import AROUND_SQUARE, FAR_OUT, LARGEST_EXPONENT, NEAR_ZERO

Measured = tuple[Tensor, Tensor | None]

_ZERO, _HALF, _ONE, _TWO, _FOUR = (np.float32(number) for number in (0, 0.5, 1, 2, 4))
_LOG_2 = np.float32(math.log(2))
# Up to here the Taylor series of log cosh and tanh are as exact as float32 is.
_NEAR = np.float32(0.4)


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
    """options: alpha, 1 / c, the largest exponent and its power, in float64.

    float64 makes up for the digits lost near alpha's special values.
    """
    alpha, per_scale, largest_exponent, largest_power = options[0], options[1], options[2], options[3]
    error = (float(x) - float(y)) * per_scale
    square = error * error
    from_square = abs(alpha - 2.0)
    growth = math.log1p(square / from_square)
    exponent = 0.5 * alpha * growth
    inner = min(exponent, largest_exponent)
    value = from_square / alpha * (math.expm1(inner) + largest_power * (exponent - inner))
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
    """options: 1 / c, the largest exponent and its power, in float64."""
    error = (float(x) - float(y)) * options[0]
    half = 0.5 * error * error
    inner = min(half, options[1])
    value = math.expm1(inner) + options[2] * (half - inner)
    return np.float32(value), np.float32(options[0] * error * math.exp(inner))


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
    largest = (LARGEST_EXPONENT, math.exp(LARGEST_EXPONENT))
    if alpha == 2:
        return mean_of_values(_HUBER, *pictures, math.inf, 1 / c**2)
    if alpha == 1:
        return mean_of_values(_CHARBONNIER, *pictures, c, c**2, 1 / c)
    if abs(alpha) < NEAR_ZERO:
        return mean_of_values(_CAUCHY, *pictures, 1 / c)
    if alpha == -2:
        return mean_of_values(_GEMAN_MCCLURE, *pictures, 1 / c)
    if alpha < -FAR_OUT:
        return mean_of_values(_WELSCH, *pictures, 1 / c)
    if alpha > FAR_OUT:
        return mean_of_values(_EXPONENTIAL, *pictures, 1 / c, *largest)
    if abs(alpha - 2) < AROUND_SQUARE:
        return mean_of_values(_NEARLY_SQUARE, *pictures, alpha, 1 / c)
    return mean_of_values(_ANY_GENERAL, *pictures, alpha, 1 / c, *largest)
