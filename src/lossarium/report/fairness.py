"""The even keel in evidence: did the trials of one seed start alike and see the same batches?"""

from collections.abc import Iterable
from dataclasses import dataclass

from lossarium.comparison.results import ComparisonResult, TrialResult
from lossarium.report.formatting import count

SHORT_HASH = 12
LONGEST_LIST = 3
"""Losses that a sentence names one by one."""


@dataclass(frozen=True)
class SeedFairness:
    """What the hashes say about the trials of one seed."""

    seed: int
    trials: int
    initial_weights: str | None
    """The hash that all trials share, or None where they differ."""
    batches: str | None
    problems: tuple[str, ...]
    """A sentence for everything that is not even."""

    @property
    def even(self) -> bool:
        return not self.problems


def fairness_of(result: ComparisonResult) -> tuple[SeedFairness, ...]:
    """One `SeedFairness` a seed, in the order of the seeds."""
    return tuple(_seed_fairness(seed, result) for seed in sorted({trial.seed for trial in result.trials}))


def _seed_fairness(seed: int, result: ComparisonResult) -> SeedFairness:
    trials = [trial for trial in result.trials if trial.seed == seed]
    missing = [loss for loss in result.losses if all(trial.loss != loss for trial in trials)]
    all_initial_weights = [trial.initial_weights for trial in trials]
    all_batches = [trial.batches for trial in trials]
    all_steps = [str(trial.steps) for trial in trials]
    initial_weights, batches = _shared(all_initial_weights), _shared(all_batches)
    problems = []
    if missing:
        problems.append(f"No trial was made with {', '.join(missing)}.")
    if initial_weights is None:
        hashes = _groups(map(_short_or_none, all_initial_weights), trials)
        problems.append(f"The trials did not start from the same weights: {hashes}.")
    if batches is None:
        hashes = _groups(map(_short_or_none, all_batches), trials)
        problems.append(f"The trials did not see the same batches: {hashes}.")
    if len(set(all_steps)) > 1:
        problems.append(f"The trials did not make equally many steps: {_groups(all_steps, trials)}.")
    problems += [sentence for trial in trials for sentence in trial.troubles()]
    return SeedFairness(seed, len(trials), initial_weights, batches, tuple(problems))


def _shared(hashes: Iterable[str]) -> str | None:
    """The hash that all have; an empty one proves nothing."""
    different = set(hashes)
    return different.pop() or None if len(different) == 1 else None


def _groups(values: Iterable[str], trials: list[TrialResult]) -> str:
    """Which losses share which value, as words."""
    groups: dict[str, list[str]] = {}
    for value, trial in zip(values, trials, strict=True):
        groups.setdefault(value, []).append(trial.loss)
    return "; ".join(f"{value} for {_few(losses)}" for value, losses in groups.items())


def _few(losses: list[str]) -> str:
    return ", ".join(losses) if len(losses) <= LONGEST_LIST else f"{len(losses)} of the losses"


def short_hash(value: str) -> str:
    """As much of a hash as people compare."""
    return value[:SHORT_HASH]


def _short_or_none(value: str) -> str:
    return short_hash(value) or "no hash recorded"


def fairness_words(by_seed: tuple[SeedFairness, ...]) -> str:
    """The even keel in one sentence, or that it is not even."""
    uneven = [one.seed for one in by_seed if not one.even]
    if not uneven:
        return "All trials ran on an even keel."
    seeds = ", ".join(str(seed) for seed in uneven)
    return (
        f"Not on an even keel: the trials of {count(len(uneven), 'seed')} ({seeds}) differ in more than "
        "their loss, so their scores must not be compared."
    )
