"""Who looks on while one trial is trained: a live preview and TensorBoard, beside whoever asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from lossarium.judging.held_out import Direction
from lossarium.training.callbacks import Watcher
from lossarium.training.configuration import Trial
from lossarium.training.records import Row
from lossarium.trial.event_file import EventFile
from lossarium.trial.live_preview import LivePreview, PreviewSheets


@dataclass(frozen=True)
class Watching:
    """What a trial shows of itself while it runs; its numbers do not depend on it."""

    preview_every: float = 60.0
    """Seconds between two `preview.png`; 0 for none."""
    tensorboard: bool = False
    """Whether event files are written; needs the package tensorboardX."""


@contextmanager
def watched(
    trial: Trial,
    pair: tuple[Direction, ...],
    identities: tuple[str, str],
    folder: Path,
    watcher: Watcher,
    watching: Watching,
) -> Iterator[Watcher]:
    """The watcher of a trial, together with the others that its user wants.

    Args:
        trial: What is trained.
        pair: The held-out frames of both identities.
        identities: Their names.
        folder: The trial's, with its trial.toml.
        watcher: Is still told everything.
        watching: What is wanted.
    """
    sheets = PreviewSheets(trial, pair, identities, folder)
    preview = LivePreview(folder, every=watching.preview_every, tell=watcher.tell)
    events = EventFile(folder, watcher.tell) if watching.tensorboard else None
    snapshots = frozenset(trial.recipe.snapshot_steps())

    def record(row: Row) -> None:
        watcher.record(row)
        sheets.record(row)
        if events is not None:
            events.record(row)

    def tell(sentence: str) -> None:
        watcher.tell(sentence)
        if events is not None:
            events.event(sentence)

    def look(model: nn.Module, step: int) -> None:
        watcher.look(model, step)
        at_snapshot = step in snapshots
        due = preview.is_due(at_snapshot=at_snapshot)
        if not due and (events is None or not at_snapshot):
            return
        pixels = sheets.draw(model, step)
        content = sheets.encoded(pixels, model)
        if due:
            preview.write(content)
        if events is not None and at_snapshot:
            events.sheet(content, pixels)

    try:
        yield replace(watcher, record=record, tell=tell, look=look)
    finally:
        if events is not None:
            events.close()
