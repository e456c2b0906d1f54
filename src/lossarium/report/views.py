"""Prepare the data of a comparison for the template: texts, and positions of bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossarium.comparison.results import ComparisonResult
from lossarium.evidence.results import Difference, Estimate, Judged, Pair, Relation, Score, TrialValues
from lossarium.evidence.wording import WORDS
from lossarium.judging.home import Home, Homes
from lossarium.report.formatting import (
    count,
    format_difference,
    format_interval,
    format_range,
    format_value,
)
from lossarium.report.palette import colour_of

TASK_TITLES = {"reconstruction": "Reconstruction", "swap": "Swap"}
WIDEST_TABLE = 7
"""How many scores fit side by side; with more, every task gets its own table."""

BAR_MARGIN = 4.0
"""The free space at either end of an interval bar, in per cent."""


@dataclass(frozen=True)
class LossMark:
    """How the page shows a loss."""

    number: int
    colour: int
    spec: str
    role: str
    """`winner`, `contender` (not beaten by any other), or empty."""
    beats: tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """The position of an interval on the scale of its column, in per cent."""

    left: float
    width: float
    mean: float
    zero: float | None = None
    margin: float = 0.0
    """How far what is too small to matter reaches to either side of zero."""


@dataclass(frozen=True)
class Cell:
    """The score of one loss."""

    value: str
    spread: str
    """From the lowest to the highest of its trials; empty with one trial."""
    bar: Bar | None
    home: bool
    why_home: str
    """Why the judge is home to the loss, as half a sentence; empty if it is not."""
    best: bool
    """Of all losses."""
    best_voting: bool
    """Of the losses that the score may vote on."""


@dataclass(frozen=True)
class Column:
    score: Score
    cells: dict[str, Cell]


@dataclass(frozen=True)
class TaskColumns:
    """The scores of one task."""

    title: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class DifferenceView:
    """What one score says of a pair."""

    score: Score
    value: str
    interval: str
    bar: Bar | None
    finding: str
    ahead: LossMark | None
    """The loss that is better, if one is."""
    home_of: tuple[str, ...]
    """The losses of the pair that the judge is home to, with the cosine of the gradients."""


@dataclass(frozen=True)
class PairView:
    """All that is known of one pair of losses."""

    first: LossMark
    second: LossMark
    relation: Relation
    ahead: LossMark | None
    """The loss that beats the other, if one does."""
    more: str
    """What would resolve it, if it is unresolved."""
    differences: tuple[DifferenceView, ...]

    @property
    def behind(self) -> LossMark | None:
        """The loss that is beaten, if one is."""
        return None if self.ahead is None else self.second if self.ahead == self.first else self.first


def loss_marks(result: Judged) -> dict[str, LossMark]:
    """Spec -> mark, in the user's order; numbers and colours follow this order."""
    return {
        spec: LossMark(
            index + 1,
            colour_of(index),
            spec,
            _role(result, spec),
            tuple(loss for loss in result.losses if (spec, loss) in result.verdict.better),
        )
        for index, spec in enumerate(result.losses)
    }


def _role(result: Judged, spec: str) -> str:
    if spec == result.verdict.winner:
        return "winner"
    return "contender" if spec in result.verdict.contenders else ""


def ranked(marks: dict[str, LossMark]) -> list[LossMark]:
    """The winner, the contenders, then the losses by how many they beat; ties in the user's order."""
    roles = ("winner", "contender", "")
    return sorted(marks.values(), key=lambda mark: (roles.index(mark.role), -len(mark.beats), mark.number))


def tables_of(result: Judged) -> list[list[TaskColumns]]:
    """The tables to show, each a list of tasks: one table for all scores, or one per task if many."""
    tasks = list(dict.fromkeys(score.task for score in result.scores))
    groups = [
        TaskColumns(
            TASK_TITLES.get(task, task.capitalize()),
            tuple(_column(result, score) for score in result.scores if score.task == task),
        )
        for task in tasks
    ]
    if not groups:
        return []
    return [groups] if len(result.scores) <= WIDEST_TABLE else [[group] for group in groups]


def _column(result: Judged, score: Score) -> Column:
    values = {
        loss: value
        for loss, value in result.verdict.values.get(score.key, {}).items()
        if loss in result.losses and not math.isnan(value.mean)
    }
    home = result.verdict.home.get(score.key, ())
    best = _best(score, values)
    best_voting = _best(score, {loss: value for loss, value in values.items() if loss not in home})
    ranges = {loss: Estimate(value.mean, value.lowest, value.highest) for loss, value in values.items()}
    low, high = _extent(list(ranges.values()))
    several = result.verdict.seeds > 1
    return Column(
        score,
        {
            loss: Cell(
                format_value(value.mean, score.digits),
                format_range([value.lowest, value.highest], score.digits) if several else "",
                _bar(ranges[loss], low, high),
                loss in home,
                _why_home(result, score, loss) if loss in home else "",
                value.mean == best,
                value.mean == best_voting and loss not in home,
            )
            for loss, value in values.items()
        },
    )


def _homes(result: Judged) -> Homes:
    """Which judges are home to which losses; pictures that anything made have none."""
    return result.homes if isinstance(result, ComparisonResult) else {}


def _why_home(result: Judged, score: Score, loss: str) -> str:
    known = _homes(result).get(loss, {}).get(score.judge)
    return known.reason() if known else "the loss was trained on this measure or a close relative"


def _best(score: Score, values: dict[str, TrialValues]) -> float | None:
    """The best mean; None with a single loss, which is the best of nothing."""
    if len(values) < 2:
        return None
    return (max if score.higher_is_better else min)(value.mean for value in values.values())


def _extent(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The smallest and the largest finite number of all intervals."""
    numbers = [
        number
        for estimate in estimates
        for number in (estimate.low, estimate.mean, estimate.high)
        if math.isfinite(number)
    ]
    return (min(numbers), max(numbers)) if numbers else (0.0, 0.0)


def _bar(estimate: Estimate, low: float, high: float, zero: bool = False, margin: float = 0.0) -> Bar | None:
    if not all(math.isfinite(number) for number in (estimate.low, estimate.mean, estimate.high)):
        return None

    def place(number: float) -> float:
        share = (number - low) / (high - low) if high > low else 0.5
        return round(BAR_MARGIN + share * (100 - 2 * BAR_MARGIN), 2)

    left = place(estimate.low)
    width = round(place(estimate.high) - left, 2)
    if not zero:
        return Bar(left, width, place(estimate.mean))
    return Bar(left, width, place(estimate.mean), place(0.0), round(place(margin) - place(0.0), 2))


RELATIONS = {
    "equivalent": "alike",
    "trade-off": "trade-off",
    "unresolved": "open",
    "unjudged": "no judge",
}
FINDINGS = {
    "equivalent": "alike: the difference is too small to matter",
    "unresolved": "{luck} could have made it",
    "unmeasured": "not known",
}


def pairs_of(result: Judged, marks: dict[str, LossMark], seconds: float = 0.0) -> list[PairView]:
    """One view per pair of losses.

    Args:
        result: What to show.
        marks: Of the losses.
        seconds: What one more seed of all losses takes; 0 if it is not known.
    """
    scores = {score.key: score for score in result.scores}
    luck = WORDS[result.verdict.about].luck
    reaches: dict[str, float] = {}
    for pair in result.verdict.pairs:
        for one in pair.differences:
            reaches[one.score] = max(reaches.get(one.score, 0.0), _reach(one))
    return [
        PairView(
            marks[pair.first],
            marks[pair.second],
            pair.relation,
            _ahead(pair.relation, pair, marks),
            _more(pair, result, seconds),
            tuple(
                _difference_view(
                    one, pair, scores[one.score], marks, reaches[one.score], luck, _homes(result)
                )
                for one in pair.differences
                if one.score in scores
            ),
        )
        for pair in result.verdict.pairs
    ]


def _reach(one: Difference) -> float:
    """How far a difference's interval and margin reach from zero."""
    ends = (one.interval.low, one.interval.high) if one.interval else ()
    return max([one.margin, *(abs(end) for end in ends if math.isfinite(end))])


def _ahead(which: str, pair: Pair, marks: dict[str, LossMark]) -> LossMark | None:
    return {"first": marks[pair.first], "second": marks[pair.second]}.get(which)


def _more(pair: Pair, result: Judged, seconds: float) -> str:
    """What would resolve a pair, and its cost: more seeds of every loss, for a comparison has as many of
    each."""
    words = WORDS[result.verdict.about]
    if pair.relation != "unresolved":
        return ""
    if result.verdict.critical is None:
        return f"too few {words.repetitions} to tell"
    if pair.further_seeds is None:
        return f"more {words.repetitions} will hardly resolve it"
    more = count(pair.further_seeds, f"more {words.repetition}", f"more {words.repetitions}")
    if not seconds:
        return f"about {more} would resolve it"
    minutes = max(1, round(pair.further_seeds * seconds / 60))
    return f"about {more} would resolve it ({count(minutes, 'minute')} of training for all {words.many})"


def _difference_view(
    one: Difference,
    pair: Pair,
    score: Score,
    marks: dict[str, LossMark],
    reach: float,
    luck: str,
    homes: Homes,
) -> DifferenceView:
    # All pairs of a score share a scale with zero in the middle.
    return DifferenceView(
        score,
        format_difference(one.mean, score.digits),
        format_interval(one.interval, score.digits) if one.interval else "",
        _bar(one.interval, -reach, reach, zero=True, margin=one.margin) if one.interval else None,
        FINDINGS.get(one.finding, "").format(luck=luck),
        _ahead(one.finding, pair, marks),
        tuple(_with_cosine(loss, homes.get(loss, {}).get(score.judge)) for loss in one.home_of),
    )


def _with_cosine(loss: str, known: Home | None) -> str:
    return loss if known is None or known.cosine is None else f"{loss} (cosine {known.cosine:.2f})"


def matrix_of(pairs: Sequence[PairView]) -> dict[tuple[str, str], PairView]:
    """(one, other) -> their pair, in both orders."""
    return {
        key: pair
        for pair in pairs
        for key in ((pair.first.spec, pair.second.spec), (pair.second.spec, pair.first.spec))
    }


def score_groups(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """The title of a task -> its scores."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(TASK_TITLES.get(score.task, score.task.capitalize()), []).append(score)
    return groups


def evidence_of(result: Judged, marks: dict[str, LossMark], pairs: list[PairView]) -> dict[str, Any]:
    """What `evidence.html.j2` shows on every page: the verdict, the scores and the pairs."""
    return {
        "result": result,
        "verdict": result.verdict,
        "words": WORDS[result.verdict.about],
        "marks": marks,
        "ranked": ranked(marks),
        "tables": tables_of(result),
        "pairs": pairs,
        "matrix": matrix_of(pairs),
        "relations": RELATIONS,
        "luck": luck_of(result),
    }


def luck_of(result: Judged) -> str:
    """Each loss's luck relative to the average, as text; empty if it was not measured apart."""
    known = {loss: round(luck, 2) for loss, luck in result.verdict.luck.items()}
    if result.verdict.critical is None or len(set(known.values())) < 2:
        return ""
    return ", ".join(f"{luck:g} for {loss}" for loss, luck in known.items())


def what_was_done(result: ComparisonResult) -> str:
    """The comparison in one line."""
    seeds = len({trial.seed for trial in result.trials})
    words = [f"{count(len(result.losses), 'loss', 'losses')} trained from {count(seeds, 'seed')}"]
    if result.trials:
        steps = format_range([float(trial.steps) for trial in result.trials])
        words[0] += f" for {steps} steps each"
    pictures = _held_out_pictures(result)
    judges = len({score.judge for score in result.scores})
    if pictures and judges:
        words.append(f"judged on {count(pictures, 'held-out picture')} by {count(judges, 'judge')}")
    return ", ".join(words) + "."


def _held_out_pictures(result: ComparisonResult) -> int:
    return max(
        (
            len(values)
            for trial in result.trials
            for snapshot in trial.snapshots[-1:]
            for values in snapshot.scores.values()
        ),
        default=0,
    )


def environment_version(environment: dict[str, str]) -> str:
    """The version of Lossarium in the recorded environment, or an empty text."""
    return next((value for label, value in environment.items() if label.lower() == "lossarium"), "")


def words_about_synthesis(settings: dict[str, str]) -> list[str]:
    """The settings that contain the word "synthetic", as text; nothing is guessed."""
    return [
        f"{label}: {value}" for label, value in settings.items() if "synthetic" in f"{label} {value}".lower()
    ]
