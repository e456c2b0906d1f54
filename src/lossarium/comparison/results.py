"""What a finished comparison knows: the plain data that the verdict is made from and the report shows."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Score:
    """What is measured on held-out frames: a judge applied to a task."""

    key: str
    """`task/judge`, such as `reconstruction/psnr` or `swap/lpips`."""
    task: str
    """`reconstruction` (A->A, B->B) or `swap` (A->B against B's frame in the same state)."""
    judge: str
    title: str
    """For people, such as `PSNR`."""
    unit: str
    """`dB` or empty."""
    higher_is_better: bool
    digits: int
    """Decimals worth showing."""
    description: str
    """One sentence."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap interval, 95% unless said otherwise."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Vote:
    """What one score says about one pair of losses."""

    score: str
    """The score's key."""
    first: str
    second: str
    difference: Estimate
    """first - second, paired over frames and seeds, turned so that positive means `first` is better.
    Its interval is widened so that all pairs of this score hold together with 95%."""
    preferred: str | None
    """`first`, `second`, or None where the interval holds 0 or the score may not vote."""
    home_of: tuple[str, ...]
    """Those of the two losses that trained on this judge; if any, the score does not vote on this pair."""


@dataclass(frozen=True)
class Verdict:
    """The ranking with its confidence, or "undecided"."""

    winner: str | None
    """The loss that beats every other one, or None."""
    contenders: tuple[str, ...]
    """The losses that no other loss beats; more than one of them means "undecided" between these."""
    sentence: str
    """The verdict for people."""
    caveats: tuple[str, ...]
    """What the verdict does not say, a sentence each."""
    table: dict[str, dict[str, Estimate]]
    """Score key -> loss -> estimate at the end of training."""
    home: dict[str, tuple[str, ...]]
    """Score key -> the losses whose home judge it is."""
    votes: tuple[Vote, ...]
    wins: dict[str, tuple[str, ...]]
    """Loss -> the losses it beats."""


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
class PreviewRow:
    """A held-out frame that the report shows, from its identity to the other one."""

    source: str
    target: str
    frame_name: str
    frame: Pictures
    """(size, size, 3)."""
    exact_swap: Pictures | None
    """(size, size, 3): the target identity in the very state of `frame`, where it is known."""


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
