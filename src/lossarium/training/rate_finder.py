"""Range tests of several losses, all from the same weights on the same batches, and a rate that suits all.

A loss is suggested a tenth of the rate at which it was lowest, one of the two rules of fastai's learning-rate
finder. The other, where the loss falls steepest, depends on luck here: an autoencoder's first steps learn
the mean colour at almost any rate, and from there to its lowest point a loss may fall evenly over decades.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lossarium import losses
from lossarium.facesets.batches.batch import Batch
from lossarium.facesets.faceset import Faceset
from lossarium.losses.module import Loss
from lossarium.models.randomness import seeded, training_seed
from lossarium.training.callbacks import Progress
from lossarium.training.configuration import Recipe
from lossarium.training.options import clipping as clippings
from lossarium.training.options import optimizers
from lossarium.training.range_test import RangeTest, range_test
from lossarium.training.step import loss_terms, rehearse
from lossarium.training.trial_batches import batches_of, parts_of_step

WIDEST_SPREAD = 10.0
"""Suggestions that lie further apart than this have no rate that is fair to all of them."""

_SHARE_OF_LOWEST = 0.1
# Of the lowest rate at which any loss exploded: the test sees an explosion a few steps late.
_SAFE_SHARE = 0.5


@dataclass(frozen=True)
class Span:
    """Which learning rates are tried."""

    lowest: float = 1e-7
    highest: float = 1.0
    steps: int = 100
    """From the lowest to the highest, by a constant factor."""


@dataclass(frozen=True)
class Found:
    """The range test of one loss."""

    loss: str
    """The spec."""
    test: RangeTest

    @property
    def suggested(self) -> float | None:
        """A tenth of the rate at which the smoothed loss was lowest; None where it never fell."""
        return None if self.test.suggested is None else _SHARE_OF_LOWEST * self.lowest_at

    @property
    def lowest_at(self) -> float:
        """The rate at which the smoothed loss was lowest."""
        return self.test.learning_rates[self.test.smoothed.index(min(self.test.smoothed))]

    @property
    def exploded_at(self) -> float | None:
        """The last rate that was tried, where the loss exploded."""
        return self.test.learning_rates[-1] if self.test.exploded else None


@dataclass(frozen=True)
class SharedRate:
    """One learning rate for all losses."""

    rate: float
    """The geometric mean of the suggestions, lowered where need be to half of where a loss exploded."""
    spread: float
    """The highest suggestion divided by the lowest."""
    lowered_by: str | None = None
    """The loss that it was lowered for."""


def find_rates(
    model: nn.Module,
    specs: Sequence[str],
    seed: int,
    recipe: Recipe,
    facesets: Sequence[Faceset],
    span: Span,
    *,
    watch: Callable[[int, Progress], None] = lambda _number, _progress: None,
) -> tuple[Found, ...]:
    """Test every loss as a trial of this recipe would train it, its schedule left out.

    Afterwards the model and all random state are what they were, to the last bit.

    Args:
        model: Whose weights every test starts from.
        specs: The losses.
        seed: Of the batches, which are those of a trial of this seed.
        recipe: Used but for its steps, learning rate, schedule and judge.
        facesets: One an identity.
        span: Which rates are tried.
        watch: Called after every step with the number of the loss, from 1.

    Raises:
        LossariumError: a loss cannot be computed at this size, or is not finite at the first step; or regions
            are to count that nobody knows.
    """
    batches = batches_of(seed, recipe, facesets, next(model.parameters()).device)
    tried = [losses.get(spec) for spec in specs]
    rehearse(tried, batches(1), recipe.region_weights)
    parts = partial(parts_of_step, batches, accumulation=recipe.accumulation)
    optimizer = optimizers.parse(recipe.optimizer)
    found = []
    for number, (spec, loss) in enumerate(zip(specs, tried, strict=True), start=1):
        step = _watched(_trained_by(loss, seed, recipe, len(facesets)), span, number, watch)
        test = range_test(
            model, optimizer, step, parts, lowest=span.lowest, highest=span.highest, steps=span.steps
        )
        found.append(Found(spec, test))
    return tuple(found)


def shared_rate(found: Sequence[Found]) -> SharedRate | None:
    """The rate that suits all losses; None where no loss suggests any.

    The geometric mean is off by as large a factor above the lowest suggestions as below the highest, and
    averages out the luck in each of them. The lowest suggestion would be safer still, but it would give the
    loss that suggests it its own best rate, and no other loss theirs.
    """
    suggested = [one.suggested for one in found if one.suggested is not None]
    if not suggested:
        return None
    rate = math.exp(math.fsum(map(math.log, suggested)) / len(suggested))
    spread = max(suggested) / min(suggested)
    first = min(found, key=lambda one: one.exploded_at or math.inf)
    ceiling = _SAFE_SHARE * (first.exploded_at or math.inf)
    return SharedRate(ceiling, spread, first.loss) if rate > ceiling else SharedRate(rate, spread)


def rounded(rate: float) -> float:
    """To two significant digits: a suggestion is no finer.

    >>> rounded(0.0012345)
    0.0012
    """
    return float(f"{rate:.1e}")


def _trained_by(
    loss: Loss, seed: int, recipe: Recipe, identities: int
) -> Callable[[nn.Module, Sequence[Batch]], Tensor]:
    """The gradient of a step on the weights, as a trial has it; gives the loss."""
    clipping, norms = clippings.parse(recipe.clipping), clippings.norm_history()

    done = 0

    def step(model: nn.Module, parts: Sequence[Batch]) -> Tensor:
        nonlocal done
        done += 1
        value = 0.0
        for part, batch in enumerate(parts):
            with seeded(batch.input.device, training_seed(seed, done, part)):
                terms = loss_terms(
                    model,
                    loss,
                    batch,
                    identities=identities,
                    precision=recipe.precision,
                    weights=recipe.region_weights,
                )
                share = terms.sum() / len(parts)
                torch.autograd.backward(share)
            value += share.item()
        clippings.clip(model.parameters(), clipping, norms)
        # The gradients are there, part by part, so that no more than one part is held in memory. What the
        # range test goes back through is a number of its own and adds nothing to them.
        return torch.tensor(value, requires_grad=True)

    return step


def _watched(
    step: Callable[[nn.Module, Sequence[Batch]], Tensor],
    span: Span,
    number: int,
    watch: Callable[[int, Progress], None],
) -> Callable[[nn.Module, Sequence[Batch]], Tensor]:
    """The same step, reported after each call."""
    growth = (span.highest / span.lowest) ** (1 / max(1, span.steps - 1))
    began, done = time.monotonic(), 0

    def told(model: nn.Module, parts: Sequence[Batch]) -> Tensor:
        nonlocal done
        value = step(model, parts)
        done += 1
        pace = done / max(1e-9, time.monotonic() - began)
        rate = span.lowest * growth ** (done - 1)
        watch(number, Progress(done, span.steps, value.item(), {}, rate, pace))
        return value

    return told
