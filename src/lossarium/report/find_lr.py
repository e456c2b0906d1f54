"""The page of `lossarium find-lr`: range tests of several losses in one chart, and one rate for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossarium.report.formatting import NOTHING, count
from lossarium.report.page import page, write_page
from lossarium.report.palette import colour_of
from lossarium.report.views import LossMark, environment_version
from lossarium.training.rate_finder import WIDEST_SPREAD, Found, SharedRate, rounded
from lossarium.training.span import Span


@dataclass(frozen=True)
class RateSearch:
    """The results that the page shows."""

    found: tuple[Found, ...]
    """A range test per loss."""
    shared: SharedRate | None
    """One rate for all losses; None without suggestions."""
    span: Span
    """The rates that were tried."""
    identities: tuple[str, str]
    facts: Mapping[str, str]
    """Label -> value: the settings."""
    environment: Mapping[str, str]
    """Label -> value: versions and hardware."""
    trial: str | None = None
    """The folder of the trial whose weights the tests started from; None for initial weights."""


def advice(search: RateSearch) -> tuple[str, ...]:
    """Where the rate for all losses comes from and how to use it: sentences, with commands in backticks."""
    said = [
        f"{one.loss} never fell: try other rates with `--lowest` and `--highest`."
        for one in search.found
        if one.suggested is None
    ]
    said += [
        f"{one.loss} still fell at the highest rate: raise `--highest`."
        for one in search.found
        if one.suggested is not None and one.lowest_at == search.span.highest
    ]
    if search.shared is None:
        return tuple(said)
    shared, rate = search.shared, f"{rounded(search.shared.rate):g}"
    several = len(search.found) > 1
    if shared.lowered_by is not None:
        said.insert(0, f"It is half of the rate at which {shared.lowered_by} exploded.")
    elif several:
        said.insert(
            0, f"It is the geometric mean of suggestions that lie within a factor of {shared.spread:.2g}."
        )
    if shared.spread > WIDEST_SPREAD:
        said.append(
            "The suggestions are so far apart that no rate is fair to all: compare the losses at several "
            "rates, or with an optimiser that suits all."
        )
    if search.trial is not None:
        said.append(f"`lossarium set {search.trial} learning_rate={rate}` sets it in the trial.")
    elif several:
        said.append(
            f"`lossarium compare ... --learning-rate {rate}` trains every loss with it: a fair comparison "
            "has one rate for all losses. With `lossarium train`, each loss may have its own."
        )
    else:
        said.append(f"`lossarium train ... --learning-rate {rate}` trains with it.")
    said.append("A suggestion is partly chance: `--seed 1` shows how much it varies.")
    return tuple(said)


def render(search: RateSearch) -> str:
    """The whole page as text. The suggestions are plain HTML; the chart needs JavaScript."""
    return page(
        "find_lr.html.j2",
        "find_lr.js",
        _page_data(search),
        rows=[_row(index, one) for index, one in enumerate(search.found)],
        shared=f"{rounded(search.shared.rate):g}" if search.shared else None,
        advice=advice(search),
        identities=search.identities,
        what_was_done=(
            f"range tests of {count(len(search.found), 'loss', 'losses')}, from {search.span.lowest:g} to "
            f"{search.span.highest:g} in {search.span.steps} steps"
        ),
        facts=search.facts,
        version=environment_version(dict(search.environment)),
    )


def write(search: RateSearch, path: Path) -> None:
    """Write the page to `path` atomically: readers see the old file or the new one.

    Raises:
        LossariumError: the folder cannot be written to.
    """
    write_page(render(search), path)


def rate_text(rate: float | None) -> str:
    """The rate with two significant digits; a dash for None."""
    return NOTHING if rate is None else f"{rounded(rate):g}"


def _row(index: int, found: Found) -> dict[str, Any]:
    return {
        "mark": LossMark(index + 1, colour_of(index), found.loss, role="", beats=()),
        "suggested": rate_text(found.suggested),
        "exploded_at": rate_text(found.exploded_at),
        "lowest_at": rate_text(found.lowest_at),
    }


def _scale(found: Found) -> float:
    """The first value of the smoothed loss, by which curves are divided to be comparable."""
    return abs(found.test.smoothed[0]) or 1.0


def _page_data(search: RateSearch) -> dict[str, Any]:
    found, shared = search.found, search.shared
    return {
        "losses": [{"spec": one.loss, "colour": colour_of(index)} for index, one in enumerate(found)],
        "curves": [_curve(one) for one in found],
        "shared": shared.rate if shared and len(found) > 1 else None,
        "span": (search.span.lowest, search.span.highest),
    }


def _curve(found: Found) -> dict[str, Any]:
    scale = _scale(found)
    return {
        "rates": found.test.learning_rates,
        "losses": [_short(value / scale) for value in found.test.losses],
        "smoothed": [_short(value / scale) for value in found.test.smoothed],
        "suggested": found.suggested,
    }


def _short(value: float) -> float:
    """To six digits, which is finer than any screen."""
    return float(f"{value:.6g}")
