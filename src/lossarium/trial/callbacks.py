"""Callbacks that show one trial while it is trained: a live preview and TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import nn

from lossarium.judging.held_out import Direction
from lossarium.training.callbacks import Callbacks
from lossarium.training.configuration import Trial
from lossarium.training.records import Row
from lossarium.trial.event_file import EventFile
from lossarium.trial.live_preview import LivePreview, PreviewSheets
from lossarium.trial.view_options import ViewOptions


@contextmanager
def showing(
    trial: Trial,
    pair: tuple[Direction, ...],
    identities: tuple[str, str],
    folder: Path,
    callbacks: Callbacks,
    views: ViewOptions,
) -> Iterator[Callbacks]:
    """Callbacks that show a trial as `views` says, and pass every call on to the given ones.

    Args:
        trial: The trial.
        pair: The held-out frames of both identities.
        identities: Their names.
        folder: The trial's, with its trial.toml.
        callbacks: Still called.
        views: What to show.
    """
    sheets = PreviewSheets(trial, pair, identities, folder)
    preview = LivePreview(folder, every=views.preview_every, tell=callbacks.tell)
    events = EventFile(folder, callbacks.tell) if views.tensorboard else None
    snapshots = frozenset(trial.recipe.snapshot_steps())

    def on_row(row: Row) -> None:
        callbacks.on_row(row)
        sheets.record(row)
        if events is not None:
            events.record(row)

    def tell(sentence: str) -> None:
        callbacks.tell(sentence)
        if events is not None:
            events.event(sentence)

    def on_step(model: nn.Module, step: int) -> None:
        callbacks.on_step(model, step)
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
        yield replace(callbacks, on_row=on_row, tell=tell, on_step=on_step)
    finally:
        if events is not None:
            events.close()
