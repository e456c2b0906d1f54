"""The learning-rate range test: train a little at a rate that rises from tiny to huge, and watch the loss.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. The rate rises by a
constant factor, and the suggestion is where the loss falls steepest over the logarithm of the rate, a rule of
fastai's learning-rate finder.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.training.options.optimizers import Optimizer, make

_FEWEST = 10
# A loss has exploded at this multiple of its lowest value.
_EXPLODED = 4.0
# How many recent steps are averaged to see an explosion, since one batch may be harder than others.
_RECENT = 3

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class RangeTest:
    """The loss at each learning rate. The first three tuples have one value for each step that was made."""

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    """As measured."""
    smoothed: tuple[float, ...]
    """Smoothed by local linear regression; losses that exploded are cut off."""
    suggested: float | None
    """The rate at which the smoothed loss falls steepest; None where it never falls."""
    exploded: bool
    """Whether the test stopped early because the loss exploded."""


def range_test(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Callable[[nn.Module, BatchT], Tensor],
    batches: Callable[[int], BatchT],
    *,
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
) -> RangeTest:
    """Find a learning rate. Restores the model and all random state afterwards, to the last bit.

    They are restored after an exception or Ctrl-C, too. The test makes its own, fresh optimiser.

    Args:
        model: The test starts from its weights; weights, buffers and gradients are restored.
        optimizer: Which optimiser to test.
        loss: (model, batch) -> the scalar to minimise; it calls the model.
        batches: Step, from 1 -> batch.
        lowest: The first learning rate.
        highest: The last learning rate. The test ends earlier if the loss explodes, that is, if its mean over
            3 steps reaches about 4 times the lowest such mean.
        steps: At least 10.

    Raises:
        LossariumError: the range or the number of steps is invalid, or the loss is not finite at the first
            step.

    >>> line = nn.Linear(1, 1)
    >>> found = range_test(line, Optimizer("sgd"), lambda model, x: (model(x) - 3).square().mean(),
    ...                    lambda step: torch.randn(4, 1), lowest=1e-4, highest=10)
    >>> 1e-3 < found.suggested < 1 and found.exploded
    True
    """
    if not (0 < lowest < highest < math.inf and steps >= _FEWEST):
        raise LossariumError(
            f"a range test goes from a learning rate above 0 to a higher one in {_FEWEST} steps or more, "
            f"not from {lowest:g} to {highest:g} in {steps}"
        )
    rates = np.geomspace(lowest, highest, steps).tolist()
    losses: list[float] = []
    exploded = False
    with _restoring(model):
        updater = make(optimizer, model.parameters(), lowest)
        for step, rate in enumerate(rates, start=1):
            for group in updater.param_groups:
                group["lr"] = rate
            updater.zero_grad()
            total = loss(model, batches(step))
            value = total.item()
            exploded = not math.isfinite(value) or _is_exploding([*losses, value])
            if math.isfinite(value):
                losses.append(value)
            if exploded:
                break
            torch.autograd.backward(total)
            updater.step()
    if not losses:
        raise LossariumError(
            f"the loss is {value} before any training, so no learning rate can be found; "
            f"look at the data and the initial weights"
        )
    tested = rates[: len(losses)]
    width = max(0.03, 1.5 / steps) * math.log(highest / lowest)
    smoothed, slopes = _local_lines(np.log(tested), _cut_off(losses), width)
    return RangeTest(
        tuple(tested), tuple(losses), tuple(smoothed.tolist()), _steepest(tested, smoothed, slopes), exploded
    )


def _is_exploding(losses: list[float]) -> bool:
    if len(losses) <= _RECENT:
        return False
    means = np.convolve(losses, np.full(_RECENT, 1 / _RECENT), "valid")
    return bool(means[-1] > _ceiling(float(means.min()), losses[0]))


def _ceiling(lowest: float, first: float) -> float:
    # For losses above 0 this is 4 times the lowest; losses below 0 may rise by as much. A tenth of the first
    # loss is the least scale: rising from almost 0 to a small loss is no explosion.
    return lowest + (_EXPLODED - 1) * max(abs(lowest), 0.1 * abs(first))


def _cut_off(losses: list[float]) -> npt.NDArray[np.float64]:
    return np.minimum(losses, _ceiling(losses[0], losses[0]))


def _local_lines(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], width: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Value and slope, at each x, of a line fitted with Gaussian weights of this width around x.

    Unlike a running average, local linear regression does not lag, so it does not shift the steepest place.
    """
    distance = x[None, :] - x[:, None]
    weight = np.exp(-0.5 * np.square(distance / width))
    weight /= weight.sum(axis=1, keepdims=True)
    mean_x, mean_y = (weight * distance).sum(axis=1), weight @ y
    spread = (weight * np.square(distance)).sum(axis=1) - np.square(mean_x)
    # The spread of neighbours is 0 only where there are none.
    slope = ((weight * distance) @ y - mean_x * mean_y) / np.maximum(spread, 1e-12)
    return mean_y - slope * mean_x, slope


def _steepest(
    rates: list[float], smoothed: npt.NDArray[np.float64], slopes: npt.NDArray[np.float64]
) -> float | None:
    if len(rates) < _FEWEST:
        return None
    until = int(smoothed.argmin()) + 1
    place = int(slopes[:until].argmin())
    return rates[place] if slopes[place] < 0 else None


@contextmanager
def _restoring(model: nn.Module) -> Iterator[None]:
    """Restore weights, buffers, gradients and the global random state on leaving, whatever happens inside."""
    weights = [(weight, weight.data, weight.data.clone(), weight.grad) for weight in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    on_cpu = torch.get_rng_state()
    on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    # A user's model or loss may draw from these.
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        for weight, *_ in weights:
            weight.grad = None
        yield
    finally:
        with torch.no_grad():
            for weight, data, saved, gradient in weights:
                # Some optimisers replace the memory behind a weight.
                weight.data = data.copy_(saved)
                weight.grad = gradient
            for module, name, buffer, saved in buffers:
                setattr(module, name, buffer.copy_(saved))
        torch.set_rng_state(on_cpu)
        if on_cuda:
            torch.cuda.set_rng_state_all(on_cuda)
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
