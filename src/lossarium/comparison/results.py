"""What a finished comparison knows: the plain data that the report shows."""

from dataclasses import dataclass, field

from lossarium.evidence.results import Score, Scores, Verdict
from lossarium.trial.pictures import Pictures, PreviewRow


@dataclass(frozen=True)
class Snapshot:
    """One trial at one moment of its training."""

    step: int
    seconds: float
    """Of training alone; judging and saving are not counted."""
    scores: dict[str, Scores]
    """Score key -> one value a held-out picture; A's frames first, then B's."""
    reconstructions: Pictures
    """(preview rows, size, size, 3)."""
    swaps: Pictures
    """(preview rows, size, size, 3): the same rows through the other identity's decoder."""


@dataclass(frozen=True)
class TrialResult:
    """One finished trial."""

    name: str
    """Its folder's name."""
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
    learning_rate_factor: float = 1.0
    """What is left of the learning rate after the guards sent the trial back to earlier checkpoints."""


@dataclass(frozen=True)
class ComparisonResult:
    """A finished comparison: all that its report shows."""

    identities: tuple[str, str]
    losses: tuple[str, ...]
    """Specs in the order in which the user gave them."""
    scores: tuple[Score, ...]
    trials: tuple[TrialResult, ...]
    """Every loss for every seed."""
    verdict: Verdict
    preview_rows: tuple[PreviewRow, ...]
    settings: dict[str, str]
    """Label -> value, for people: steps, seeds, size, model, batch, learning rate, precision, frames."""
    environment: dict[str, str]
    """Label -> value: versions and hardware."""
    notes: tuple[str, ...] = field(default=())
    """What was said about the pictures, such as "2 animations: their first frame is used"."""
