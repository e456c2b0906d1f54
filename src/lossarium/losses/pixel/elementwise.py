"""Helpers of losses that are the mean of one value per pixel and channel: mean, weights and map."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lossarium.losses.declaration import LossFunction
from lossarium.losses.fused import LoadKernel, Plain, measure
from lossarium.losses.reduction import Reduction, as_pictures, weighted_mean

Formula = Callable[[Tensor, Tensor], Tensor]
"""(input, target) -> the loss of each value by itself, (N, C, H, W)."""


def elementwise_loss(
    formula: Formula,
    load_kernel: LoadKernel | None,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    """The (weighted) mean of a formula over each picture, by its kernel if possible.

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    return measure(mean_of(formula), load_kernel, input, target, weight, how)


def elementwise_map(with_options: Callable[..., Formula]) -> LossFunction:
    """The map, (N, 1, H, W), of a loss whose formula depends on options."""

    def map(input: Tensor, target: Tensor, **options: object) -> Tensor:
        return with_options(**options)(input, target).mean(dim=1, keepdim=True)

    return map


def mean_of(formula: Formula) -> Plain:
    """The (weighted) mean of a formula over each picture, (N,), in plain torch operations."""
    return partial(_mean, formula)


def _mean(formula: Formula, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    return weighted_mean(formula(input, target), weight)
