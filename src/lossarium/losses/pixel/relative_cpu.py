"""Kernels for relative errors, signed errors and IMAE. Contract: `lossarium.losses.fused.LossKernel`."""

import numpy as np
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, inlined
from lossarium.compute.elementary import exp, sign
from lossarium.compute.elementwise import elementwise, mean_of_values

Measured = tuple[Tensor, Tensor | None]

_ZERO, _ONE = np.float32(0), np.float32(1)
# Gauss-Legendre nodes and weights on [0, 1]; twelve integrate exp(T u (1 - u)) to 1e-8 for T <= 16.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
_PLACES, _SHARES = ((_NODES + 1) / 2).astype(np.float32), (_NODE_WEIGHTS / 2).astype(np.float32)


@inlined
def _signed(x: Real, y: Real, _options: Reals) -> tuple[Real, Real]:
    return x - y, _ONE


@inlined
def _relative(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    error, size = x - y, max(abs(y), options[0])
    return abs(error) / size, sign(error) / size


@inlined
def _relative_signed(x: Real, y: Real, options: Reals) -> tuple[Real, Real]:
    size = max(abs(y), options[0])
    return (x - y) / size, _ONE / size


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
    return value, sign(error) * exp(options[0] * inner * (_ONE - inner))


_SIGNED = elementwise(_signed)
_RELATIVE = elementwise(_relative)
_RELATIVE_SIGNED = elementwise(_relative_signed)
_UNEQUAL = elementwise(_unequal)


def mbe(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None) -> Measured:
    return mean_of_values(_SIGNED, input, target, weight, scale)


def mape(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, eps: float
) -> Measured:
    return mean_of_values(_RELATIVE, input, target, weight, scale, eps)


def mpe(input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, eps: float) -> Measured:
    return mean_of_values(_RELATIVE_SIGNED, input, target, weight, scale, eps)


def imae(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, temperature: float
) -> Measured:
    """For temperatures up to 16, where twelve nodes are enough."""
    return mean_of_values(_UNEQUAL, input, target, weight, scale, temperature)
