"""Which judges are home to a loss: they would favour it, since training on it lowers (or raises) what they
measure.

A judge is home to a loss

- if their weight gradients have a cosine of at least 0.7 at typical states (the median of
  `gradient_cosines`), so that a step along one is mostly a step along the other;
- or if it is the measure of the loss itself, or of its dominating term: one of the same name, or one that the
  judge's declaration (`Judge.home_of`) names.

A sum is measured as the sum that it is. A term dominates it if its gradient and the sum's have a cosine of at
least 0.7. A judge without a gradient is home to every loss with a term that it names.

Cosines of the built-in losses and judges are in `homes.toml`, made by
`python -m lossarium.judging.measure_homes`; others are measured when a comparison begins and kept in its
`comparison.toml`.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from lossarium.errors import LossariumError
from lossarium.judging.declaration import Judge
from lossarium.judging.gradient_cosines import Cosine, cosines
from lossarium.losses.registry import info
from lossarium.losses.spec import Spec, Term, parse

THRESHOLD = 0.7
"""The least cosine of a home judge."""
TABLE = "homes.toml"


@dataclass(frozen=True)
class Home:
    """What is known of a judge and a loss."""

    home: bool
    """Whether the judge is home to the loss, and has no vote on it."""
    cosine: float | None
    """Between their weight gradients, the median over typical states, to two decimals; None if one of them
    has no gradient."""

    def reason(self) -> str:
        """Why it is home, as half a sentence."""
        if self.cosine is None:
            return "the loss has a term that this judge names as its own"
        if self.cosine >= THRESHOLD:
            return f"its gradient points the same way as the loss's (cosine {self.cosine:.2f})"
        return f"the loss is a relative of this measure (cosine {self.cosine:.2f})"


Homes = Mapping[str, Mapping[str, Home]]
"""Loss, as a canonical spec -> judge -> what is known of them."""


def homes_of(losses: Iterable[str], judges: Sequence[Judge]) -> dict[str, dict[str, Home]]:
    """Which judges are home to which losses; what is not in the table is measured, in seconds.

    Args:
        losses: Canonical specs.
        judges: The judges that score.

    Raises:
        LossariumError: a loss does not exist.
    """
    specs = {loss: _without_defaults(parse(loss)) for loss in losses}
    known = table()
    unknown = [
        spec
        for spec in dict.fromkeys(specs.values())
        if any(judge.name not in known.get(str(spec), {}) for judge in judges)
    ]
    lacking = [
        judge for judge in judges if any(judge.name not in known.get(str(spec), {}) for spec in unknown)
    ]
    measured = cosines(unknown, lacking) if unknown else {}
    found: dict[str, dict[str, Home]] = {}
    for loss, spec in specs.items():
        here = {**measured.get(str(spec), {}), **known.get(str(spec), {})}
        found[loss] = {judge.name: _home(judge, spec, here) for judge in judges}
    return found


def _home(judge: Judge, spec: Spec, measured: Mapping[str, Cosine | None]) -> Home:
    cosine = measured.get(judge.name)
    if cosine is None:
        return Home(judge.is_home_of(str(spec)), None)
    named = len(spec.terms) == 1 or any(
        _dominates(measured.get(f"term:{place}"))
        for place, term in enumerate(spec.terms)
        if judge.is_home_of(str(term))
    )
    return Home(
        cosine.median >= THRESHOLD or (named and judge.is_home_of(str(spec))),
        cosine.median,
    )


def _dominates(cosine: Cosine | None) -> bool:
    return cosine is not None and cosine.median >= THRESHOLD


def _without_defaults(spec: Spec) -> Spec:
    """The same loss without options that have their defaults; a single term without its factor, which has no
    direction."""
    terms = tuple(
        Term(
            term.name,
            term.factor,
            tuple(one for one in term.options if info(term.name).options[one[0]] != one[1]),
        )
        for term in spec.terms
    )
    return Spec((replace(terms[0], factor=1.0),) if len(terms) == 1 else terms)


@cache
def table() -> Mapping[str, Mapping[str, Cosine]]:
    """The shipped cosines: loss -> judge (or term) -> cosine."""
    content = tomllib.loads((files("lossarium.judging") / TABLE).read_text(encoding="utf-8"))
    return {
        loss: {name: Cosine(*numbers) for name, numbers in row.items()}
        for loss, row in content["cosines"].items()
    }


def as_table(homes: Homes) -> dict[str, Any]:
    """For `comparison.toml`."""
    return {
        loss: {
            judge: {"home": one.home, **({} if one.cosine is None else {"cosine": one.cosine})}
            for judge, one in row.items()
        }
        for loss, row in homes.items()
    }


def from_table(content: Mapping[str, Any]) -> dict[str, dict[str, Home]]:
    """Read what `as_table` wrote.

    Raises:
        LossariumError: it is damaged.
    """
    try:
        return {
            loss: {judge: Home(bool(one["home"]), one.get("cosine")) for judge, one in row.items()}
            for loss, row in content.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise LossariumError(
            "the table of home judges in comparison.toml is damaged; remove its lines that begin with "
            "[homes, and those below them, and run the same command again, which measures them again"
        ) from None
