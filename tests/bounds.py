"""Bounds on the difference between two computations of the same value, with their reasons.

No bound here was read off one machine. Processors differ in the instructions that they have (fused
multiply-add, the width of vectors) and libraries in the order in which they sum; both change the last bits.
An error analysis holds for all of them:

- A float's relative rounding error is at most u, half its epsilon.
- A chain of k roundings loses at most k u / (1 - k u) of its result (Higham, Accuracy and Stability of
  Numerical Algorithms, 2nd edition, lemma 3.1).
- The error of a sum of n numbers grows as the root of n: it exceeds 6 sqrt(n) u of the sum of magnitudes
  once in 10^7 sums, whatever the order of summation (Higham and Mary, A new approach to probabilistic
  rounding error analysis, 2019).
- A stable algorithm gives the exact result of slightly different input. How much that changes the result is
  measured where it is needed: in float64, with input that differs by u (`sensitivity`).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_DEVIATIONS = 6.0
"""So many standard deviations does no error of a sum reach."""
LONGEST_CHAIN = 32
"""The most roundings between the pictures and a loss or its slope: two windows of 11 weights, one down and
one across, are 22; what is made of the sums, some ten. Means are summed in pairs or by tiles: a few more."""


def unit_roundoff(dtype: torch.dtype) -> float:
    """The largest relative error of one rounding, u."""
    return torch.finfo(dtype).eps / 2


def rounding_error(roundings: int, dtype: torch.dtype) -> float:
    """The largest relative error of a chain of so many roundings."""
    lost = roundings * unit_roundoff(dtype)
    return lost / (1 - lost)


def summation_error(count: int, dtype: torch.dtype) -> float:
    """The error of a sum of so many numbers in any order, relative to the sum of their magnitudes."""
    return _DEVIATIONS * math.sqrt(count) * unit_roundoff(dtype)


def apart(dtype: torch.dtype, roundings: int = LONGEST_CHAIN) -> float:
    """How far apart two ways to compute the same may be, relative to it: each loses a chain of roundings."""
    return 2 * rounding_error(roundings, dtype)


def resampling_error(side: int, dtype: torch.dtype = torch.float32) -> float:
    """The error of a pixel after resampling a picture in [0, 1].

    Where it comes from is a coordinate of up to `side`, made in some 32 roundings; between two pixels a
    picture changes by at most 1 along either axis.
    """
    return 2 * side * rounding_error(32, dtype)


def sensitivity(
    function: Callable[..., Sequence[Tensor]],
    *arguments: Tensor | None,
    draws: int = 2,
    dtype: torch.dtype = torch.float32,
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """How much an exact function's results change where its arguments change by a unit roundoff.

    Args:
        function: From float64 tensors to float64 tensors.
        arguments: The arguments; None is passed on unchanged.
        draws: How many random changes to try, of all arguments at once.
        dtype: The type whose unit roundoff is used.

    Returns:
        The results, and the largest change of each of them that was found, entry by entry.
    """
    exact = function(*arguments)
    largest = [torch.zeros_like(result) for result in exact]
    # In float64 a change by u drowns in rounding: a larger one is tried, and its effect divided.
    times = 1024 if dtype == torch.float64 else 1
    for seed in range(draws):
        source = torch.Generator().manual_seed(seed)
        size = times * unit_roundoff(dtype)
        changed = [None if argument is None else _changed(argument, size, source) for argument in arguments]
        for change, result, before in zip(largest, function(*changed), exact, strict=True):
            torch.maximum(change, (result - before).abs() / times, out=change)
    return exact, largest


def error_bound(
    function: Callable[..., Tensor],
    *arguments: Tensor | None,
    dtype: torch.dtype = torch.float64,
    roundings: int = LONGEST_CHAIN,
    draws: int = 2,
) -> Tensor:
    """What a stable algorithm in `dtype` loses of a function's result, entry by entry.

    Such an algorithm gives the exact result of arguments that are changed by some roundings, itself rounded
    as often. Single entries, on which the few changes that are tried may have no effect, are allowed what is
    usual.

    Args:
        function: Takes float64 tensors and gives one.
        arguments: Where it is asked.
        dtype: Whose roundings.
        roundings: The most of them one after the other.
        draws: How many random changes to try.
    """

    def as_one(*arguments: Tensor | None) -> Sequence[Tensor]:
        return (function(*arguments).detach(),)

    (exact,), (change,) = sensitivity(as_one, *arguments, draws=draws, dtype=dtype)
    return roundings * (unit_roundoff(dtype) * exact.abs() + change + change.flatten().quantile(0.99))


def _changed(argument: Tensor, size: float, source: torch.Generator) -> Tensor:
    """Every number larger or smaller by a share of so much."""
    signs = torch.randint(0, 2, argument.shape, generator=source).to(argument) * 2 - 1
    return argument * (1 + size * signs)
