"""Guards: NaN and infinity never reach the weights, and a trial whose loss explodes is rolled back.

A step whose loss or gradient is not finite is skipped. A loss is suspicious when it is far above its recent
median, in units of its own spread. After several suspicious or non-finite steps in a row, the trial is rolled
back to its last good checkpoint and goes on with a lower learning rate. After a few rollbacks it stops, and
says which term of the loss exploded first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

_WINDOW = 200
"""How many recent losses a new one is compared with."""
_FEWEST = 50
"""With fewer recent losses than this, none is suspicious."""
# The standard deviation of a normal distribution in units of its median absolute deviation.
_DEVIATIONS = 1.4826


@dataclass(frozen=True)
class Guards:
    """When a trial is rolled back."""

    z_score: float = 30.0
    """A loss is suspicious if it is this many robust standard deviations above its recent median,"""
    factor: float = 3.0
    """and above this multiple of that median."""
    patience: int = 5
    """So many suspicious or non-finite steps in a row are an explosion."""
    rollbacks: int = 3
    """How often a trial is rolled back before it stops."""
    slower: float = 0.5
    """The factor on the learning rate after each rollback."""


@dataclass(frozen=True)
class LossHistory:
    """What the guards remember; a function of the steps so far."""

    losses: tuple[float, ...] = ()
    """Losses of the last steps that were not suspicious."""
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same for each term."""
    suspicious: int = 0
    """The number of suspicious or non-finite steps in a row, up to now."""
    first_term: str | None = None
    """The term that was farthest above its history at the first of them."""
    rollbacks: int = 0
    """The number of rollbacks so far."""

    def as_table(self) -> dict[str, Any]:
        return {
            "losses": list(self.losses),
            "terms": {term: list(values) for term, values in self.terms.items()},
            "suspicious": self.suspicious,
            "first_term": self.first_term,
            "rollbacks": self.rollbacks,
        }


def remembered(table: Mapping[str, Any]) -> LossHistory:
    """The `LossHistory` of a checkpoint, from its `as_table`."""
    if not table:
        return LossHistory()
    lists = {term: tuple(values) for term, values in table["terms"].items()}
    return LossHistory(**{**table, "losses": tuple(table["losses"]), "terms": lists})


def update_history(
    history: LossHistory, guards: Guards, loss: float, terms: Mapping[str, float], *, finite: bool
) -> LossHistory:
    """The history after a step with this loss and these terms; `finite` says if loss and gradient were."""
    if finite and not _is_far_out(loss, history.losses, guards):
        losses = (*history.losses, loss)[-_WINDOW:]
        by_term = {term: (*history.terms.get(term, ()), value)[-_WINDOW:] for term, value in terms.items()}
        return LossHistory(losses, by_term, rollbacks=history.rollbacks)
    first = history.first_term or _farthest(terms, history.terms)
    return replace(history, suspicious=history.suspicious + 1, first_term=first)


def exploded(history: LossHistory, guards: Guards) -> bool:
    return history.suspicious >= guards.patience


def after_rollback(history: LossHistory) -> LossHistory:
    """The history after a rollback: the same losses, one rollback more."""
    return replace(history, suspicious=0, first_term=None, rollbacks=history.rollbacks + 1)


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
    """The first term that is not finite, or else the one farthest above its history."""
    infinite = [term for term, value in terms.items() if not math.isfinite(value)]
    if infinite:
        return infinite[0]
    return max(terms, key=lambda term: _z_score(terms[term], history.get(term) or (terms[term],)))
