"""Loops over a row of numbers that several kernels share."""

from lossarium.compute.compiling import Reals, inlined


@inlined
def subtract(x: Reals, y: Reals, errors: Reals, width: int) -> None:
    """Write x - y to `errors`."""
    for j in range(width):
        errors[j] = x[j] - y[j]


@inlined
def copy(source: Reals, row: Reals, width: int) -> None:
    """Write `source` to `row`."""
    for j in range(width):
        row[j] = source[j]
