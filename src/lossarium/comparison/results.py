"""The results of a finished comparison: the plain data that the report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossarium.evidence.results import Score, Scores, Verdict
from lossarium.evidence.writing import as_json
from lossarium.judging.declaration import Judge
from lossarium.judging.home import Homes
from lossarium.text.wording import counted
from lossarium.trial.pictures import Pictures, PreviewRow


@dataclass(frozen=True)
class Snapshot:
    """One trial at one moment of its training."""

    step: int
    seconds: float
    """Time spent on training, without judging and saving."""
    scores: dict[str, Scores]
    """Score key -> one value a picture that was judged, A's frames first, then B's. The last snapshots
    (`FULL_EVALUATIONS`) judged all held-out pictures. Those before keep only the mean, an array of one, so
    that memory does not grow with snapshots times pictures."""
    reconstructions: Pictures
    """(preview rows, size, size, 3)."""
    swaps: Pictures
    """(preview rows, size, size, 3): the same rows through the other identity's decoder."""
    sample: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Task -> the places, within `scores`, of the pictures that every evaluation judged; empty for all."""

    def mean(self, score: str) -> float:
        """The mean over the pictures that every evaluation judged, so that evaluations can be compared.

        NaN if there is no such score, or none of these pictures has a value.
        """
        values = self.scores.get(score, np.empty(0))
        if places := self.sample.get(score.partition("/")[0]):
            values = values[np.asarray(places)]
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else float("nan")


@dataclass(frozen=True)
class TrialResult:
    """One finished trial."""

    name: str
    """The name of its folder."""
    loss: str
    """The spec, as the user wrote it."""
    seed: int
    initial_weights: str
    """SHA-256 of the weights before the first step."""
    final_weights: str
    batches: str
    """The last link of the hash chain over every batch."""
    steps: int
    seconds: float
    snapshots: tuple[Snapshot, ...]
    rollbacks: int = 0
    """How often its loss exploded and it was rolled back to an earlier checkpoint."""
    learning_rate_factor: float = 1.0
    """The factor on the learning rate after the rollbacks, at most 1."""
    skipped_steps: int = 0
    """Steps without an update, since the loss or its gradient was NaN or infinity."""

    def troubles(self) -> tuple[str, ...]:
        """Rollbacks and skipped steps, one sentence each: departures from how the other trials trained."""
        sentences = []
        if self.rollbacks:
            times = "once" if self.rollbacks == 1 else f"{self.rollbacks} times"
            sentences.append(
                f"The loss of {self.loss} (seed {self.seed}) exploded: it was rolled back to an earlier "
                f"checkpoint {times}, and went on with {self.learning_rate_factor:g} of the learning rate."
            )
        if self.skipped_steps:
            sentences.append(
                f"{self.loss} (seed {self.seed}) skipped {counted(self.skipped_steps, 'step')} of "
                f"{self.steps:,}: the loss or its gradient was NaN or infinity."
            )
        return tuple(sentences)


def score_of(judge: Judge, key: str, task: str, description: str, margins: Mapping[str, float]) -> Score:
    """A judge's score of a task; `margins` has the margins that are not the judge's own."""
    return Score(
        key=key,
        task=task,
        judge=judge.name,
        title=judge.title,
        unit=judge.unit,
        higher_is_better=judge.higher_is_better,
        digits=judge.digits,
        description=description,
        margin=margins.get(judge.name, judge.margin),
    )


@dataclass(frozen=True)
class ComparisonResult:
    """A finished comparison, as its report shows it."""

    identities: tuple[str, str]
    losses: tuple[str, ...]
    """Specs in the order in which the user gave them."""
    scores: tuple[Score, ...]
    trials: tuple[TrialResult, ...]
    """Every loss for every seed."""
    verdict: Verdict
    """What may be claimed; its sentence names the budget, and trials that went wrong."""
    troubles: tuple[str, ...]
    """What went wrong in trials, a sentence each: explosions, skipped steps."""
    preview_rows: tuple[PreviewRow, ...]
    settings: dict[str, str]
    """Label -> value, for people: steps, seeds, size, model, batch, learning rate, precision, frames."""
    environment: dict[str, str]
    """Label -> value: versions and hardware."""
    homes: Homes = field(default_factory=dict)
    """Which judges are home to which losses, and why."""
    notes: tuple[str, ...] = field(default=())
    """Remarks on the pictures, such as "2 animations: their first frame is used"."""


def verdict_table(result: ComparisonResult) -> dict[str, Any]:
    """The contents of `verdict.json`."""
    return {**as_json(result.verdict), "troubles": list(result.troubles)}
