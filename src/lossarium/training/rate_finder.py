"""Range tests of several losses, all from the same weights on the same batches, and one rate for all of them.

The suggestion for a loss is a tenth of the rate at which it was lowest, one of the two rules of fastai's
learning-rate finder. The other rule, the rate at which the loss falls steepest, depends on chance here: an
autoencoder's first steps learn the mean colour at almost any rate, and from there to its lowest point a loss
may fall evenly over several powers of ten.
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
from lossarium.training.span import Span
from lossarium.training.step import loss_terms, try_losses
from lossarium.training.trial_batches import batches_of, parts_of_step

WIDEST_SPREAD = 10.0
"""If the suggestions differ by more than this factor, no single rate is fair to all losses."""

_SHARE_OF_LOWEST = 0.1
# The shared rate is at most this share of the lowest rate at which any loss exploded, since the test sees an
# explosion a few steps late.
_SAFE_SHARE = 0.5


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
        """The last rate tried, if the loss exploded there; else None."""
        return self.test.learning_rates[-1] if self.test.exploded else None


@dataclass(frozen=True)
class SharedRate:
    """One learning rate for all losses."""

    rate: float
    """The geometric mean of the suggestions, but at most half the lowest rate at which a loss exploded."""
    spread: float
    """The highest suggestion divided by the lowest."""
    lowered_by: str | None = None
    """The loss whose explosion lowered it; None if it was not lowered."""


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
    """Run a range test of every loss, training as a trial of this recipe would, but without its schedule.

    Restores the model and all random state afterwards, to the last bit.

    Args:
        model: Every test starts from its weights.
        specs: The losses.
        seed: The tests see the batches of a trial of this seed.
        recipe: Its steps, learning rate, schedule and judge are not used.
        facesets: One per identity.
        span: The rates to try.
        watch: Called after every step with the number of the loss, from 1.

    Raises:
        LossariumError: a loss cannot be computed at this size, or is not finite at the first step; or a
            faceset lacks the masks or landmarks that the region weights need.
    """
    batches = batches_of(seed, recipe, facesets, next(model.parameters()).device)
    tried = [losses.get(spec) for spec in specs]
    try_losses(tried, batches(1), recipe.region_weights)
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
    """One rate for all losses; None if there is no suggestion.

    It is the geometric mean of the suggestions, which treats factors above and below alike and averages out
    the chance in each. The lowest suggestion would be safer, but it would give one loss its best rate and all
    others a rate below theirs.
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
    """Round to two significant digits: a suggestion is no more precise.

    >>> rounded(0.0012345)
    0.0012
    """
    return float(f"{rate:.1e}")


def _trained_by(
    loss: Loss, seed: int, recipe: Recipe, identities: int
) -> Callable[[nn.Module, Sequence[Batch]], Tensor]:
    """A function that computes the gradients of a trial's step, part by part, and returns the loss."""
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
        # The gradients are already computed, part by part, so that memory holds only one part at a time. The
        # range test calls backward on the returned tensor, which is detached and adds nothing to them.
        return torch.tensor(value, requires_grad=True)

    return step


def _watched(
    step: Callable[[nn.Module, Sequence[Batch]], Tensor],
    span: Span,
    number: int,
    watch: Callable[[int, Progress], None],
) -> Callable[[nn.Module, Sequence[Batch]], Tensor]:
    """The same step, with a call of `watch` after it."""
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
