"""Guards: no number that is none reaches the weights, and a loss that explodes is not trained on.

A step whose loss or gradient is not finite is passed over. A loss is suspicious when it lies far above what
it was lately, in units of its own spread; when it stays so, or when step after step is not finite, the trial
goes back to its last good checkpoint and on with a lower learning rate. After a few times of that it stops,
and says which term of the loss went first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

_WINDOW = 200
"""Steps that a loss is held against."""
_FEWEST = 50
# A normal number's standard deviation in median absolute deviations.
_DEVIATIONS = 1.4826


@dataclass(frozen=True)
class Guards:
    """When a trial goes back."""

    z_score: float = 30.0
    """How far above its median a loss is suspicious, in robust standard deviations of the last 200 steps."""
    factor: float = 3.0
    """And it is at least so many times its median."""
    patience: int = 5
    """So many suspicious steps in a row are an explosion."""
    rollbacks: int = 3
    """How often a trial goes back before it stops."""
    slower: float = 0.5
    """What the learning rate is multiplied by each time."""


@dataclass(frozen=True)
class LossHistory:
    """What the guards remember; a function of the steps so far."""

    losses: tuple[float, ...] = ()
    """Losses of the last steps that were not suspicious."""
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same of each term."""
    suspicious: int = 0
    """Steps in a row, up to now."""
    first: str | None = None
    """The term that was farthest out when they began."""
    rollbacks: int = 0
    """So far."""

    def as_table(self) -> dict[str, Any]:
        return {
            "losses": list(self.losses),
            "terms": {term: list(values) for term, values in self.terms.items()},
            "suspicious": self.suspicious,
            "first": self.first,
            "rollbacks": self.rollbacks,
        }


def remembered(table: Mapping[str, Any]) -> LossHistory:
    """What a checkpoint kept of `LossHistory`."""
    if not table:
        return LossHistory()
    lists = {term: tuple(values) for term, values in table["terms"].items()}
    return LossHistory(**{**table, "losses": tuple(table["losses"]), "terms": lists})


def update_history(
    history: LossHistory, guards: Guards, loss: float, terms: Mapping[str, float], *, finite: bool
) -> LossHistory:
    """After a step: its loss, its terms, and whether loss and gradient were finite."""
    if finite and not _is_far_out(loss, history.losses, guards):
        losses = (*history.losses, loss)[-_WINDOW:]
        by_term = {term: (*history.terms.get(term, ()), value)[-_WINDOW:] for term, value in terms.items()}
        return LossHistory(losses, by_term, rollbacks=history.rollbacks)
    first = history.first or _farthest(terms, history.terms)
    return replace(history, suspicious=history.suspicious + 1, first=first)


def exploded(history: LossHistory, guards: Guards) -> bool:
    return history.suspicious >= guards.patience


def went_back(history: LossHistory) -> LossHistory:
    """After the trial went back: the same history, one rollback more."""
    return replace(history, suspicious=0, first=None, rollbacks=history.rollbacks + 1)


def _is_far_out(value: float, history: tuple[float, ...], guards: Guards) -> bool:
    if len(history) < _FEWEST:
        return False
    middle = median(history)
    return value > guards.factor * abs(middle) and _z_score(value, history) > guards.z_score


def _z_score(value: float, history: tuple[float, ...]) -> float:
    middle = median(history)
    spread = _DEVIATIONS * median(abs(other - middle) for other in history)
    return (value - middle) / max(spread, 1e-3 * abs(middle), 1e-12)


def _farthest(terms: Mapping[str, float], history: Mapping[str, tuple[float, ...]]) -> str:
    """The term that is not finite, or else lies farthest above what it was."""
    infinite = [term for term, value in terms.items() if not math.isfinite(value)]
    if infinite:
        return infinite[0]
    return max(terms, key=lambda term: _z_score(terms[term], history.get(term) or (terms[term],)))
