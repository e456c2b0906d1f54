"""What losses share that are the mean of one value a pixel and channel: the mean, its weights and its map."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lossarium.losses.declaration import LossFunction
from lossarium.losses.fused import LoadKernel, measure
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
    """The (weighted) mean of a formula over each picture, by its kernel where that serves.

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.
    """
    input, target, weight = as_pictures(input, target, weight)
    return measure(partial(_mean, formula), load_kernel, input, target, weight, reduction)


def elementwise_map(with_options: Callable[..., Formula]) -> LossFunction:
    """The map of a loss, (N, 1, H, W), whose formula is made from its options."""

    def map(input: Tensor, target: Tensor, **options: object) -> Tensor:
        return with_options(**options)(input, target).mean(dim=1, keepdim=True)

    return map


def _mean(formula: Formula, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    return weighted_mean(formula(input, target), weight)
