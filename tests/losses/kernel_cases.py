"""Kernels beside the plain way: what every test of a kernel asks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lossarium import losses
from tests.losses.pictures import random_pair

LossKernel = Callable[[Tensor, Tensor, Tensor | None, float | None], tuple[Tensor, Tensor | None]]


def value_and_gradient(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, **options: object
) -> tuple[Tensor, Tensor]:
    """One value a picture and their sum's gradient, by whatever way the loss takes."""
    input = input.clone().requires_grad_()
    values = losses.info(name).function(input, target, weight=weight, reduction="none", **options)
    values.sum().backward()
    return values.detach(), input.grad


def check_against_plain(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, **options: object
) -> None:
    """The kernel's value to 2e-6 and gradient to 3e-6 of its largest, against plain operations in float64."""
    values, gradient = value_and_gradient(name, input, target, weight, **options)
    double = None if weight is None else weight.double()
    with losses.without_kernels():
        exact, slopes = value_and_gradient(name, input.double(), target.double(), double, **options)
    assert torch.allclose(values.double(), exact, rtol=2e-6, atol=2e-7)
    assert (gradient - slopes).abs().max() <= 3e-6 * slopes.abs().max() + 1e-12
    with torch.no_grad():
        alone = losses.info(name).function(input, target, weight=weight, reduction="none", **options)
    assert torch.allclose(alone, values, rtol=1e-6, atol=2e-7)


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
