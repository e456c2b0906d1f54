"""exp and log in float32 for kernels: a loop that calls those of libm cannot use vector instructions."""

import numpy as np

from lossarium.compute.compiling import Real, inlined

_LOG2_E = np.float32(1.4426950408889634)
# log(2) in two parts, the first with so few digits that whole multiples of it are exact.
_LOG_2_HIGH, _LOG_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOG_2 = np.float32(0.6931471805599453)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_SQRT_2 = np.float32(1.4142135623730951)
# Beyond these, exp leaves the normal float32 numbers.
_LEAST_EXPONENT, _GREATEST_EXPONENT = np.float32(-87), np.float32(88)
_SMALLEST_NORMAL = np.float32(1.17549435e-38)
_INFINITY = np.float32(np.inf)


@inlined
def sign(x: Real) -> Real:
    """-1, 0 or 1: a difference of comparisons, since nested branches would rule out vector instructions."""
    return np.float32(x > _ZERO) - np.float32(x < _ZERO)


@inlined
def exp(x: Real) -> Real:
    """e^x to 3e-7 of its value, for x clamped to [-87, 88].

    e^x = 2^k e^r with k whole and |r| <= log(2) / 2; e^r by the Taylor series with its last terms adjusted to
    that range (Cephes' expf).
    """
    x = min(max(x, _LEAST_EXPONENT), _GREATEST_EXPONENT)
    k = np.floor(x * _LOG2_E + _HALF)
    r = x - k * _LOG_2_HIGH
    r = r - k * _LOG_2_LOW
    series = np.float32(1.9875691500e-4)
    series = series * r + np.float32(1.3981999507e-3)
    series = series * r + np.float32(8.3334519073e-3)
    series = series * r + np.float32(4.1665795894e-2)
    series = series * r + np.float32(1.6666665459e-1)
    series = series * r + np.float32(5.0000001201e-1)
    return (series * r * r + r + _ONE) * np.int32((np.int32(k) + 127) << 23).view(np.float32)


@inlined
def log(x: Real) -> Real:
    """The natural logarithm to 3e-7 of its value or of 1e-3, for x clamped to normal positive numbers; NaN
    and infinity stay what they are.

    log x = k log 2 + log m with m in [1/sqrt 2, sqrt 2]; log m = 2 artanh s with s = (m - 1) / (m + 1), whose
    series in s^2 <= 0.03 needs five terms.
    """
    bits = np.float32(max(x, _SMALLEST_NORMAL)).view(np.int32)
    exponent = np.int32((bits >> 23) - 127)
    mantissa = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    if mantissa > _SQRT_2:
        mantissa = mantissa * _HALF
        exponent = np.int32(exponent + 1)
    s = (mantissa - _ONE) / (mantissa + _ONE)
    square = s * s
    series = np.float32(2 / 9)
    series = series * square + np.float32(2 / 7)
    series = series * square + np.float32(2 / 5)
    series = series * square + np.float32(2 / 3)
    series = series * square + _TWO
    value = np.float32(exponent) * _LOG_2 + s * series
    # NaN and infinity have bits that look like a large number's.
    return value if x < _INFINITY else x


@inlined
def log1p_of_share(t: Real) -> Real:
    """log(1 + t) to 2e-7 of its value, for t in [0, 1]: 2 artanh(t / (2 + t)), which never rounds 1 + t."""
    s = t / (_TWO + t)
    square = s * s
    series = np.float32(2 / 13)
    series = series * square + np.float32(2 / 11)
    series = series * square + np.float32(2 / 9)
    series = series * square + np.float32(2 / 7)
    series = series * square + np.float32(2 / 5)
    series = series * square + np.float32(2 / 3)
    series = series * square + _TWO
    return s * series
