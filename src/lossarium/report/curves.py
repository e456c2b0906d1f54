"""Scores over the course of training, averaged over pictures and seeds."""

from dataclasses import dataclass

import numpy as np

from lossarium.comparison.results import ComparisonResult, Snapshot, TrialResult


@dataclass(frozen=True)
class Curve:
    """The curve of one loss for one score: a point per evaluation."""

    steps: list[float]
    seconds: list[float]
    mean: list[float]
    low: list[float]
    """The lowest seed."""
    high: list[float]
    """The highest seed."""


def curve_of(result: ComparisonResult, score: str, loss: str) -> Curve:
    """The mean over seeds and the pictures that every evaluation judged, at each evaluation.

    The evaluations of the seeds are paired by their order: with a budget of steps these are the same steps,
    with a budget of seconds about the same seconds. Evaluations without scores are left out.
    """
    trials = [trial for trial in result.trials if trial.loss == loss]
    points = []
    for moment in range(max((len(trial.snapshots) for trial in trials), default=0)):
        values = [
            (snapshot, value)
            for snapshot in _at(trials, moment)
            if np.isfinite(value := snapshot.mean(score))
        ]
        if values:
            means = [value for _, value in values]
            points.append(
                (
                    float(np.mean([snapshot.step for snapshot, _ in values])),
                    float(np.mean([snapshot.seconds for snapshot, _ in values])),
                    float(np.mean(means)),
                    min(means),
                    max(means),
                )
            )
    points.sort()
    return (
        Curve(*(list(column) for column in zip(*points, strict=True)))
        if points
        else Curve([], [], [], [], [])
    )


def _at(trials: list[TrialResult], moment: int) -> list[Snapshot]:
    return [trial.snapshots[moment] for trial in trials if moment < len(trial.snapshots)]
