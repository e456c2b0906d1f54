"""What losses cost on this machine, in units of MSE's cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossFunction
from lossarium.losses.registry import info

SHAPE = (4, 3, 128, 128)
"""Of the pictures that losses are timed on."""

# Runs a loss, unless they take longer together; one before them is not counted, for it may compile or load.
_MOST_RUNS, _FEWEST_RUNS = 15, 3
_SECONDS_A_LOSS = 0.1
# Of MSE, before each loss: the unit should be of the same minutes, for other work comes and goes.
_RUNS_OF_THE_UNIT = 3


@dataclass(frozen=True)
class Cost:
    """What one call of a loss costs."""

    name: str
    seconds: float | None
    """Median over some calls; None where it cannot be called, as without its weights."""
    times_mse: float | None
    """The same in units of MSE's forward and backward pass."""
    with_backward: bool
    """Whether the backward pass is in it; of measures that cannot be minimised it is not."""


def costs(
    names: Sequence[str], progress: Callable[[int, int], None] | None = None, *, shape: Sequence[int] = SHAPE
) -> tuple[Cost, ...]:
    """Time losses with their default options, in float32 on the CPU with torch's number of threads.

    What cannot be called here, a loss without its weights or pictures too small for it, has no cost.

    Args:
        names: The losses.
        progress: Called before each and after the last with how many have been timed and how many there are.
        shape: (N, C, H, W), of the pictures.
    """
    source = torch.Generator().manual_seed(0)
    target = torch.rand(tuple(shape), generator=source)
    input = torch.rand(tuple(shape), generator=source).lerp(target, 0.8)
    units = _times(info("mse").function, input, target, backward=True)
    medians: list[float | None] = []
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names))
        loss = info(name)
        units += _times(info("mse").function, input, target, backward=True, most=_RUNS_OF_THE_UNIT)
        try:
            medians.append(median(_times(loss.function, input, target, backward=loss.objective)))
        except LossariumError:
            medians.append(None)
    if progress is not None:
        progress(len(names), len(names))
    unit = median(units)
    return tuple(
        Cost(
            name,
            # Timed anew among the others, it might be 0.97 of itself.
            seconds=unit if name == "mse" else seconds,
            times_mse=None if seconds is None else 1.0 if name == "mse" else seconds / unit,
            with_backward=info(name).objective,
        )
        for name, seconds in zip(names, medians, strict=True)
    )


def _times(
    function: LossFunction, input: Tensor, target: Tensor, *, backward: bool, most: int = _MOST_RUNS
) -> list[float]:
    """Seconds of each of a few calls."""
    input = input.clone().requires_grad_(backward)
    times: list[float] = []
    # The first is left out.
    while len(times) <= _FEWEST_RUNS or (len(times) <= most and sum(times[1:]) < _SECONDS_A_LOSS):
        input.grad = None
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            value = function(input, target)
            if backward:
                value.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return times[1:]
