"""Kernels against plain formulas: what the tests of all kernels share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lossarium import losses
from tests.bounds import LONGEST_CHAIN, rounding_error, sensitivity, unit_roundoff
from tests.losses.pictures import random_pair

Exact = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def value_and_gradient(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, **options: object
) -> tuple[Tensor, Tensor]:
    """One value per picture and their sum's gradient, by the kernel or the plain formula."""
    input = input.clone().requires_grad_()
    values = losses.info(name).function(input, target, weight=weight, reduction="none", **options)
    values.sum().backward()
    return values.detach(), input.grad


def check_against_plain(
    name: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    level: float = 0.0,
    **options: object,
) -> None:
    """A loss's kernel, with and without its gradient, against its plain operations in float64."""
    values, gradient = value_and_gradient(name, input, target, weight, **options)
    with torch.no_grad():
        alone = losses.info(name).function(input, target, weight=weight, reduction="none", **options)

    def exact(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        with losses.without_kernels():
            return value_and_gradient(name, input, target, weight, **options)

    pixel = losses.info(name).family == "pixel"
    found = (torch.stack((values, alone)), gradient)
    check_float32(found, exact, input, target, weight, of_difference=pixel, level=level)


def check_float32(
    found: tuple[Tensor, Tensor],
    exact: Exact,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    of_difference: bool = False,
    level: float = 0.0,
    chain: int = LONGEST_CHAIN,
    draws: int = 2,
) -> None:
    """Check that values and gradient are as close to the exact ones as float32 allows.

    A stable algorithm gives the exact result of numbers that are changed by a few roundings, itself rounded a
    few times: `chain` bounds how many. The effect of a change by u on the result is measured here, in
    float64, so no bound depends on the processor or the pictures.

    Args:
        found: One value per picture, possibly several times, and the gradient of their sum.
        exact: (input, target, weight) in float64 to the values and the gradient.
        input: As the kernel had it, like the rest.
        target: The truth.
        weight: The weight of each pixel.
        of_difference: Whether the loss begins with input - target, whose rounding is relative to the
            difference: small differences of bright pictures are then as exact as large ones. A loss that
            begins with each picture by itself can be no better than the pictures, each relative to itself.
        level: A constant that the loss first subtracts from both pictures, exactly: roundings are relative to
            the rest.
        chain: The most roundings one after the other.
        draws: How many random changes to try: more where few places are steep, which few changes find.
    """

    def of_parts(first: Tensor, rest: Tensor, weight: Tensor | None) -> Sequence[Tensor]:
        target = rest + level
        return exact(first + (target if of_difference else level), target, weight)

    values, gradient = found
    input, target = input.double(), target.double()
    weight = None if weight is None else weight.double()
    first = input - (target if of_difference else level)
    (true, slopes), (change, change_of_slopes) = sensitivity(
        of_parts, first, target - level, weight, draws=draws
    )
    unit = unit_roundoff(torch.float32)
    allowed = chain * (unit * true.abs() + change)
    assert ((values - true).abs() <= allowed).all()
    # An entry is a sum that may cancel: what is lost is relative to the largest. Where a change of u turns a
    # sign inside an absolute value, the entry jumps: it may, and no other may for its sake.
    usual = change_of_slopes.flatten().quantile(0.99)
    allowed = chain * (unit * slopes.abs().max() + usual + change_of_slopes)
    assert ((gradient - slopes).abs() <= allowed).all()


def check_slope(function: Callable[[Tensor], Tensor], input: Tensor, direction: Tensor, step: float) -> None:
    """A scalar function's gradient against a central difference, in float64.

    The difference is the mean of the slopes between its ends, so it is as near the one in the middle as those
    of the ends are to each other: measured, since slopes jump where a rectifier switches. To that comes what
    rounding does to the values, divided by their distance.
    """

    def slope(picture: Tensor) -> float:
        picture = picture.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(picture), picture)
        return (gradient * direction).sum().item()

    ends = [input + sign * step * direction for sign in (1, -1)]
    with torch.no_grad():
        ahead, behind = (function(end).item() for end in ends)
    first, last = map(slope, ends)
    rounded = 2 * rounding_error(LONGEST_CHAIN, torch.float64) * abs(ahead) / (2 * step)
    middle = slope(input)
    assert abs(middle - (ahead - behind) / (2 * step)) <= abs(first - last) + rounded
    assert abs(first - last) + rounded < 0.01 * abs(middle), "a bound that says nothing"


def pairs() -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
    """Name -> input, target and weight: sizes that tiles and vectors do not divide, channels, weights."""
    cases: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
    sizes = {"small": (13, 17, 1), "odd": (37, 45, 3), "tall": (301, 24, 2), "wide": (24, 1061, 1)}
    for seed, (name, (height, width, channels)) in enumerate(sizes.items()):
        input, target = random_pair(height=height, width=width, channels=channels, seed=seed)
        weight = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed))
        weight[0, :, : height // 3] = 0
        cases[name] = (input, target, None)
        cases[f"{name}, weighted"] = (input, target, weight)
    return cases


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
