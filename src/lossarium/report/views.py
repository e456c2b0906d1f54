"""Prepare the data of a comparison for the template: texts, and positions of bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossarium.comparison.results import ComparisonResult
from lossarium.evidence.results import Estimate, Score, Vote
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


@dataclass(frozen=True)
class Cell:
    """The score of one loss."""

    value: str
    interval: str
    bar: Bar | None
    home: bool
    best: bool


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
class VoteView:
    score: Score
    value: str
    interval: str
    bar: Bar | None
    preferred: LossMark | None
    home_of: tuple[str, ...]


@dataclass(frozen=True)
class PairView:
    """All votes on one pair of losses."""

    first: LossMark
    second: LossMark
    for_first: int
    for_second: int
    silent: int
    """The number of scores without a vote, not counting home judges."""
    winner: LossMark | None
    votes: tuple[VoteView, ...]


def loss_marks(result: ComparisonResult) -> dict[str, LossMark]:
    """Spec -> mark, in the user's order; numbers and colours follow this order."""
    return {
        spec: LossMark(
            index + 1, colour_of(index), spec, _role(result, spec), tuple(result.verdict.wins.get(spec, ()))
        )
        for index, spec in enumerate(result.losses)
    }


def _role(result: ComparisonResult, spec: str) -> str:
    if spec == result.verdict.winner:
        return "winner"
    return "contender" if spec in result.verdict.contenders else ""


def ranked(marks: dict[str, LossMark]) -> list[LossMark]:
    """The winner, the contenders, then the losses by how many they beat; ties in the user's order."""
    roles = ("winner", "contender", "")
    return sorted(marks.values(), key=lambda mark: (roles.index(mark.role), -len(mark.beats), mark.number))


def tables_of(result: ComparisonResult) -> list[list[TaskColumns]]:
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


def _column(result: ComparisonResult, score: Score) -> Column:
    estimates = {
        loss: estimate
        for loss, estimate in result.verdict.table.get(score.key, {}).items()
        if loss in result.losses
    }
    home = result.verdict.home.get(score.key, ())
    means = {
        loss: estimate.mean
        for loss, estimate in estimates.items()
        if loss not in home and not math.isnan(estimate.mean)
    }
    # With a single loss, marking the best is pointless.
    best = (max if score.higher_is_better else min)(means.values()) if len(means) > 1 else None
    low, high = _extent(list(estimates.values()))
    return Column(
        score,
        {
            loss: Cell(
                format_value(estimate.mean, score.digits),
                format_interval(estimate, score.digits),
                _bar(estimate, low, high),
                loss in home,
                best is not None and means.get(loss) == best,
            )
            for loss, estimate in estimates.items()
            if not math.isnan(estimate.mean)
        },
    )


def _extent(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The smallest and the largest finite number of all intervals."""
    numbers = [
        number
        for estimate in estimates
        for number in (estimate.low, estimate.mean, estimate.high)
        if math.isfinite(number)
    ]
    return (min(numbers), max(numbers)) if numbers else (0.0, 0.0)


def _bar(estimate: Estimate, low: float, high: float, zero: bool = False) -> Bar | None:
    if not all(math.isfinite(number) for number in (estimate.low, estimate.mean, estimate.high)):
        return None

    def place(number: float) -> float:
        share = (number - low) / (high - low) if high > low else 0.5
        return round(BAR_MARGIN + share * (100 - 2 * BAR_MARGIN), 2)

    left = place(estimate.low)
    width = round(place(estimate.high) - left, 2)
    return Bar(left, width, place(estimate.mean), place(0.0) if zero else None)


def pairs_of(result: ComparisonResult, marks: dict[str, LossMark]) -> list[PairView]:
    """One view per pair of losses, in the order of the votes."""
    grouped: dict[tuple[str, str], list[Vote]] = {}
    for vote in result.verdict.votes:
        grouped.setdefault((vote.first, vote.second), []).append(vote)
    extents = {
        score.key: _extent([vote.difference for vote in result.verdict.votes if vote.score == score.key])
        for score in result.scores
    }
    scores = {score.key: score for score in result.scores}
    pairs = []
    for (first, second), votes in grouped.items():
        if first not in marks or second not in marks:
            continue
        preferred = [vote.preferred for vote in votes]
        winner = next(
            (
                marks[one]
                for one, other in ((first, second), (second, first))
                if other in result.verdict.wins.get(one, ())
            ),
            None,
        )
        pairs.append(
            PairView(
                marks[first],
                marks[second],
                preferred.count(first),
                preferred.count(second),
                sum(vote.preferred is None and not vote.home_of for vote in votes),
                winner,
                tuple(
                    _vote_view(vote, scores[vote.score], marks, extents[vote.score])
                    for vote in votes
                    if vote.score in scores
                ),
            )
        )
    return pairs


def _vote_view(vote: Vote, score: Score, marks: dict[str, LossMark], extent: tuple[float, float]) -> VoteView:
    # All pairs of a score share a scale with zero in the middle.
    reach = max(abs(extent[0]), abs(extent[1]))
    return VoteView(
        score,
        format_difference(vote.difference.mean, score.digits),
        format_interval(vote.difference, score.digits),
        _bar(vote.difference, -reach, reach, zero=True),
        None if vote.preferred is None else marks.get(vote.preferred),
        vote.home_of,
    )


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
