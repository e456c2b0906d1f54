"""`preview.png` of a trial: its model's output for a few held-out frames, updated every so many seconds.

Its timing follows the wall clock; the numbers of the trial do not depend on it.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn

from lossarium.files import write_whole
from lossarium.judging.held_out import Direction, as_bytes, decode
from lossarium.models.registry import weights_digest
from lossarium.provenance import PNG, encoded, trial_digest, xmp_packet
from lossarium.training.configuration import Trial
from lossarium.training.records import Row
from lossarium.trial.folder import TRIAL
from lossarium.trial.pictures import Pictures
from lossarium.trial.previews import chosen, known_swaps
from lossarium.trial.sheets import Block, Column, draw_sheet, picture_side

NAME = "preview.png"
_SECONDS_BETWEEN_COMPLAINTS = 600.0
# Pictures of 64 pixels are too small to see a loss's effect; ones larger than the maximum fill the screen.
_LEAST_SIDE, _MOST_SIDE = 128, 256


class PreviewSheets:
    """Draws the live preview sheets of one trial."""

    def __init__(
        self, trial: Trial, pair: tuple[Direction, ...], identities: tuple[str, ...], folder: Path
    ) -> None:
        self._trial, self._pair, self._identities = trial, pair, identities
        self._table = (folder / TRIAL).read_bytes()
        self._row: Row = {}

    def record(self, row: Row) -> None:
        """Remember the loss for the header."""
        if "terms" in row or "passed_over" in row:
            self._row = row

    def draw(self, model: nn.Module, step: int) -> Pictures:
        """Draw a block per identity: frame, reconstruction, swap and, where known, the exact swap.

        Returns:
            (H, W, 3). The model is left unchanged.
        """
        recipe = self._trial.recipe
        blocks = [self._block(model, direction) for direction in self._pair]
        side = picture_side(recipe.size, least=_LEAST_SIDE, most=_MOST_SIDE)
        header = f"step {step:,} of {recipe.steps:,}    {_loss_of(self._row)}"
        return draw_sheet(header, blocks, side, share=step / recipe.steps)

    def encoded(self, pixels: Pictures, model: nn.Module) -> bytes:
        """The PNG of a sheet, marked as synthetic and with the weights' digest, as `lossarium swap` does."""
        digest = trial_digest(self._table, weights_digest(model))
        return encoded(pixels, PNG, xmp_packet(digest))

    def _block(self, model: nn.Module, direction: Direction) -> Block:
        frames = direction.frames[chosen(direction)]
        columns = [
            Column("frame", as_bytes(frames)),
            Column("reconstruction", as_bytes(decode(model, frames, direction.source))),
            Column("swap", as_bytes(decode(model, frames, direction.target))),
        ]
        if (exact := known_swaps(direction)) is not None:
            columns.append(Column("exact swap", exact))
        return Block(
            block_title(self._identities[direction.source], self._identities[direction.target]),
            tuple(columns),
        )


class LivePreview:
    """Writes `preview.png` after the first step of a run, then every so many seconds."""

    def __init__(self, folder: Path, *, every: float, tell: Callable[[str], None]) -> None:
        """Write nothing yet.

        Args:
            folder: The trial's.
            every: Seconds between two updates; 0 for never.
            tell: Called with the reason, at most every ten minutes, while the file cannot be written.
        """
        self._path, self._every, self._tell = folder / NAME, every, tell
        self._written_at = self._complained_at = -math.inf

    def is_due(self, *, at_snapshot: bool) -> bool:
        """Whether an update is due; always at a snapshot, so that the last preview shows the end."""
        due = at_snapshot or time.monotonic() - self._written_at >= self._every
        return self._every > 0 and due

    def write(self, content: bytes) -> None:
        """Replace the file."""
        try:
            write_whole(self._path, content)
        except OSError as error:
            if time.monotonic() - self._complained_at >= _SECONDS_BETWEEN_COMPLAINTS:
                self._complained_at = time.monotonic()
                self._tell(f"{self._path} cannot be written ({error.strerror or error}); training goes on")
        # Counted from the end of writing: however slow that is, training gets its share of the time.
        self._written_at = time.monotonic()


def block_title(source: str, target: str) -> str:
    """The title over the columns of one direction."""
    return f"{source}, swapped to {target}"


def _loss_of(row: Row) -> str:
    if "loss" not in row:
        return "loss: not finite, step skipped" if "passed_over" in row else ""
    loss = f"loss {row['loss']:.4f}"
    terms = ", ".join(f"{term} {value:.4f}" for term, value in row["terms"].items())
    return f"{loss} ({terms})" if len(row["terms"]) > 1 else loss
