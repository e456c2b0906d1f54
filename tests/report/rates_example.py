"""Range tests made by hand, as `lossarium find-lr` would have found them."""

import math

from lossarium.report.find_lr import RateSearch
from lossarium.training.range_test import RangeTest
from lossarium.training.rate_finder import Found, shared_rate
from lossarium.training.span import Span

STEPS = 57
"""Eight a decade: powers of ten are among the rates."""


def found(loss: str, suggested: float | None = 1e-3, *, height: float = 1.0, made: int = STEPS) -> Found:
    """A range test that is lowest at ten times its suggestion and exploded unless all steps were made."""
    rates = [1e-7 * 10 ** (7 * place / (STEPS - 1)) for place in range(made)]
    away = [math.log10(rate / (10 * suggested)) if suggested else -9.0 for rate in rates]
    smoothed = [height * (1 - 0.6 * math.exp(-(value**2) / 2)) for value in away]
    if made < STEPS:
        smoothed[-3:] = [height * 1.2, height * 2, height * 4]
    losses = [value * (1 + 0.05 * math.sin(9 * place)) for place, value in enumerate(smoothed)]
    exploded = made < STEPS
    if exploded:
        losses[-1] = height * 1e30
    return Found(loss, RangeTest(tuple(rates), tuple(losses), tuple(smoothed), suggested, exploded))


def search(*tests: Found, trial: str | None = None) -> RateSearch:
    """The data of the page."""
    return RateSearch(
        tests,
        shared_rate(tests),
        Span(1e-7, 1.0, STEPS),
        ("ada", "ben"),
        {"model": "compact", "optimiser": "adam"},
        {"lossarium": "0.1.0"},
        trial,
    )
