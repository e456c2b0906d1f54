"""Pictures to test losses on: random ones, and extreme ones."""

from collections.abc import Callable

import torch
from torch import Tensor


def random_pair(
    *, height: int = 24, width: int = 20, channels: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Two pictures, not square and not symmetric, one a noisy copy of the other."""
    source = torch.Generator().manual_seed(seed)
    target = torch.rand(2, channels, height, width, generator=source, dtype=torch.float64)
    noise = 0.2 * torch.randn(target.shape, generator=source, dtype=torch.float64)
    return (target + noise).to(dtype), target.to(dtype)


def checkerboard(height: int = 24, width: int = 20) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows + columns) % 2).float().expand(1, 3, height, width)


def extremes(side: int = 32) -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> (input, target) on which a careless loss is infinite or has no gradient."""
    zeros = torch.zeros(1, 3, side, side)
    board = checkerboard(side, side)
    random = random_pair(height=side, width=side)[0]
    return {
        "zeros": (zeros, zeros),
        "equal": (random, random.clone()),
        "constant against zero": (zeros + 0.5, zeros),
        "constant against itself": (zeros + 0.5, zeros + 0.5),
        "checkerboard against its negative": (board, 1 - board),
        "far outside": (random * 1e4 - 5e3, random),
    }


def check_zero_without_weight_or_difference(
    function: Callable[..., Tensor], *more: tuple[Tensor, Tensor, Tensor | None]
) -> None:
    """Value and gradient are exactly 0 for equal pictures of any kind, and where no pixel counts.

    Args:
        function: The loss.
        more: Other (input, target, weight) for which it is 0.
    """
    board = checkerboard(24, 20)
    input, target = random_pair()
    flat = torch.full_like(target, 0.5)
    for x, y, weight in (
        (board, board, None),
        (flat, flat, None),
        (target, target, None),
        (input, target, torch.zeros(2, 1, 24, 20)),
        *more,
    ):
        x = x.clone().requires_grad_()
        value = function(x, y, weight=weight)
        value.backward()
        assert value.item() == 0
        assert x.grad is not None
        assert x.grad.abs().max() == 0
