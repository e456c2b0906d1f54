"""Measures the cost of losses on this machine, relative to MSE's."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.registry import info

SHAPE = (4, 3, 128, 128)
"""Shape of the pictures that losses are timed on."""

# Timed calls of a loss, unless they take too long; the first call may compile or load and is not timed.
_MOST_RUNS, _FEWEST_RUNS = 60, 3
_SECONDS_A_LOSS = 0.1


@dataclass(frozen=True)
class Cost:
    """The cost of one call of a loss."""

    name: str
    seconds: float | None
    """The minimum over some calls; None if it cannot be called, for instance without its weights."""
    times_mse: float | None
    """The same relative to MSE's forward and backward pass."""
    with_backward: bool
    """Whether the backward pass is included; not for measures that cannot be minimised."""


def costs(
    names: Sequence[str], progress: Callable[[int, int], None] | None = None, *, shape: Sequence[int] = SHAPE
) -> tuple[Cost, ...]:
    """Time losses with their default options, in float32 on the CPU with torch's number of threads.

    On a busy machine other work interrupts calls. So this measures the calling thread's CPU time, runs the
    losses in turns, so that all meet the same conditions, and takes the minimum over each loss's calls. A
    loss that cannot be called here, without its weights or with pictures too small for it, has no cost.

    Args:
        names: The losses.
        progress: Called with the number of losses timed so far, and of all losses.
        shape: (N, C, H, W) of the pictures.
    """
    source = torch.Generator().manual_seed(0)
    target = torch.rand(tuple(shape), generator=source)
    input = torch.rand(tuple(shape), generator=source).lerp(target, 0.8)
    calls = {name: _call(info(name), input, target) for name in dict.fromkeys(("mse", *names))}
    least: dict[str, float | None] = dict.fromkeys(calls, math.inf)
    spent, runs = dict.fromkeys(calls, 0.0), dict.fromkeys(calls, 0)
    waiting = list(calls)
    told = None
    while waiting:
        done = sum(name not in waiting for name in names)
        if progress is not None and done != told:
            progress(done, len(names))
            told = done
        for name in tuple(waiting):
            try:
                seconds = _seconds_of(calls[name])
            except LossariumError:
                least[name] = None
                waiting.remove(name)
                continue
            # The first call is not timed.
            if runs[name] > 0:
                least[name] = min(seconds, least[name] or math.inf)
                spent[name] += seconds
            runs[name] += 1
            if runs[name] > _MOST_RUNS or (runs[name] > _FEWEST_RUNS and spent[name] >= _SECONDS_A_LOSS):
                waiting.remove(name)
    if progress is not None:
        progress(len(names), len(names))
    unit = least["mse"]
    assert unit is not None
    return tuple(
        Cost(
            name,
            seconds=seconds,
            times_mse=None if seconds is None else seconds / unit,
            with_backward=info(name).objective,
        )
        for name, seconds in ((name, least[name]) for name in names)
    )


def _call(loss: LossInfo, input: Tensor, target: Tensor) -> Callable[[], None]:
    """One forward pass and, if the loss can be minimised, one backward pass."""
    leaf = input.clone().requires_grad_(loss.objective)

    def call() -> None:
        leaf.grad = None
        with torch.set_grad_enabled(loss.objective):
            value = loss.function(leaf, target)
            if loss.objective:
                value.backward()  # type: ignore[no-untyped-call]

    return call


def _seconds_of(call: Callable[[], None]) -> float:
    start = time.thread_time()
    call()
    # 0 would be below the resolution of the clock.
    return max(time.thread_time() - start, 1e-9)
