"""Which checkpoints a trial keeps."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keeping:
    """Which checkpoints are kept; the numbers of the trial do not depend on it."""

    best: bool = False
    """Whether to keep the best of all snapshots."""
    every: int = 0
    """Keep a checkpoint for good every so many steps; 0 for none."""
    last: int = 1
    """How many of the last checkpoints to keep; while the trial runs, at least two."""
    rescue: Path | None = None
    """Where the last checkpoint goes if the trial's folder cannot be written."""
