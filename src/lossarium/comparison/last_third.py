"""What the last third of training says of a verdict: whether it would have been the same, and whether scores
still improve."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lossarium.comparison.results import TrialResult
from lossarium.evidence.results import Score, Verdict
from lossarium.evidence.wording import joined

_STILL = 3.0
"""Scores still improve where the last third brought this many times what is too small to matter."""


def remarks(verdict: Verdict, scores: Sequence[Score], trials: Sequence[TrialResult]) -> tuple[str, ...]:
    """Sentences on the ranks and on the curves of the last third; none without two evaluations in it."""
    steps = [snapshot.step for snapshot in trials[0].snapshots]
    late = [place for place, step in enumerate(steps) if step >= 2 / 3 * steps[-1]]
    if len(late) < 2 or any(len(trial.snapshots) != len(steps) for trial in trials):
        return ()
    losses = list(dict.fromkeys(trial.loss for trial in trials))
    curves = {(score.key, loss): _curve(score, loss, trials)[late] for score in scores for loss in losses}
    return tuple(filter(None, [_ranks(verdict, curves), _improving(scores, losses, curves)]))


def _curve(score: Score, loss: str, trials: Sequence[TrialResult]) -> npt.NDArray[np.float64]:
    """(evaluations,), means over sampled frames and seeds; higher is better."""
    sign = 1.0 if score.higher_is_better else -1.0
    of_trials = [
        [snapshot.mean(score.key) for snapshot in trial.snapshots] for trial in trials if trial.loss == loss
    ]
    return np.asarray(sign * np.array(of_trials).mean(0))


def _ranks(verdict: Verdict, curves: Mapping[tuple[str, str], npt.NDArray[np.float64]]) -> str:
    """Whether each pair that is decided was ahead in the same scores throughout."""
    if not verdict.better:
        return ""
    changed = [
        (pair.ahead, pair.other(pair.ahead))
        for pair in verdict.pairs
        if pair.ahead is not None
        and any(
            (curves[one.score, pair.ahead] <= curves[one.score, pair.other(pair.ahead)]).any()
            for one in pair.voting()
            if one.finding == pair.relation
        )
    ]
    if not changed:
        return "Every loss that beats another was ahead of it all through the last third of training."
    names = joined([f"{better} over {worse}" for better, worse in changed[:3]])
    return f"Ranks changed in the last third of training ({names}): more or fewer steps may rank differently."


def _improving(
    scores: Sequence[Score],
    losses: Sequence[str],
    curves: Mapping[tuple[str, str], npt.NDArray[np.float64]],
) -> str:
    """Which scores still improved, by how much."""
    found = []
    for score in scores:
        gains = [float(curves[score.key, loss][-1] - curves[score.key, loss][0]) for loss in losses]
        if score.margin and max(gains) > _STILL * score.margin:
            unit = f" {score.unit}" if score.unit else ""
            found.append(f"{score.title} of {score.task} by up to {max(gains):.{score.digits}f}{unit}")
    if not found:
        return ""
    return (
        f"Scores still improved in the last third of training ({joined(found)}): more steps may rank "
        "differently."
    )
