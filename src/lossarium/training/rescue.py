"""Saves a run whose folder cannot be written: waits for disk space, or saves to another folder.

The last weights, rows and pictures of a run are only in memory. They are saved to the trial's folder if it
has room again within `PATIENCE_SECONDS`; to the folder of `--rescue` at once if one is given; else to a new
folder among the system's temporary ones.

A rescued trial is a folder with the files that the trial's own lacks: metrics.jsonl, checkpoints/, previews/.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.text.wording import reason_of
from lossarium.training import records as recording
from lossarium.training.checkpoints import newest_checkpoints, save_checkpoint, step_of
from lossarium.training.records import NullRecords, Records
from lossarium.training.run_state import Run, RunState, save, state_table
from lossarium.training.signals import Request, Stopped

PATIENCE_SECONDS = 600.0
_FIRST_WAIT, _LONGEST_WAIT, _BETWEEN_SIGNALS = 1.0, 60.0, 0.1


class RescuedError(LossariumError):
    """The last step is saved, but in another folder than the trial's."""


def save_last(run: Run, state: RunState, records: Records | NullRecords, request: Request) -> None:
    """Save the state at the end of a run, in any folder that has room.

    Raises:
        RescuedError: it is saved, but in another folder; the message says where and how to go on.
        Stopped: the user asked to stop while it waited; the unsaved state is lost.
        OSError: no folder could be written.
    """
    try:
        what = f"step {state.step} is only in memory"
        _until_written(run, state, request, what, lambda: _save_or_rescue(run, state, records))
    except OSError as error:
        with suppress(OSError):
            _rescue(run, state, records, Path(tempfile.mkdtemp(prefix="lossarium-rescue-")), error)
        raise


def save_stopped(run: Run, state: RunState, records: Records | NullRecords) -> str | None:
    """Save when a run is asked to stop, without waiting for room.

    Returns:
        A sentence about where it is saved, if in another folder.
    """
    if state.saved == state.step:
        return None
    try:
        with suppress(OSError):
            if run.keeping.rescue is not None:
                _save_or_rescue(run, state, records)
    except RescuedError as elsewhere:
        return str(elsewhere)
    if state.saved < state.step:
        save(run, state, records)
    return None


def flush_last(run: Run, state: RunState, records: Records | NullRecords, request: Request) -> None:
    """Write the last row to disk, when all else is saved.

    Raises:
        Stopped, OSError: as for `save_last`.
    """
    _until_written(run, state, request, "the row that says it is finished is missing", records.flush)


def _save_or_rescue(run: Run, state: RunState, records: Records | NullRecords) -> None:
    try:
        save(run, state, records, last=True)
    except OSError as error:
        if run.keeping.rescue is not None:
            _rescue(run, state, records, run.keeping.rescue, error)
        raise


def _until_written(
    run: Run, state: RunState, request: Request, what: str, write: Callable[[], object]
) -> None:
    began, wait = time.monotonic(), _FIRST_WAIT
    while True:
        try:
            write()
            return
        except OSError as error:
            left = began + PATIENCE_SECONDS - time.monotonic()
            if left <= 0:
                raise
            run.callbacks.tell(
                f"{run.folder} cannot be written ({reason_of(error)}), and {what}; "
                f"free some disk space: retrying for {_duration(left)}; Ctrl-C gives up"
            )
        until = time.monotonic() + min(wait, left)
        while time.monotonic() < until:
            if request.number is not None:
                raise Stopped(state.saved, request.number)
            time.sleep(min(_BETWEEN_SIGNALS, wait))
        wait = min(2 * wait, _LONGEST_WAIT)


def _rescue(run: Run, state: RunState, records: Records | NullRecords, rescue: Path, error: OSError) -> None:
    """Save to another folder and raise a RescuedError that says so; return if that fails as well."""
    if not run.processes.is_first:
        return
    rescued = _place(rescue, run.folder)
    try:
        rescued.mkdir(parents=True, exist_ok=True)
        run.callbacks.on_rescue(rescued)
        content = records.content()
        write_whole(rescued / recording.NAME, content)
        position = replace(state.position, record_bytes=len(content))
        save_checkpoint(rescued, position, run.model, run.optimizer, state_table(state))
    except OSError as second:
        run.callbacks.tell(f"{rescued} cannot be written either ({reason_of(second)})")
        shutil.rmtree(rescued, ignore_errors=True)
        with suppress(OSError):
            rescue.rmdir()
        return
    raise RescuedError(
        f"{run.folder} cannot be written ({reason_of(error)}); step {state.step} is saved in {rescued}: free "
        f"some room and run the same command again with --rescue {rescue}, which takes it back"
    ) from None


def take_back(folder: Path, rescue: Path, tell: Callable[[str], None]) -> None:
    """Move rescued files back into the trial's folder if they are newer than those there.

    Raises:
        OSError: there is no room yet; the rescued files stay where they are.
    """
    rescued = _place(rescue, folder)
    newest = next(iter(newest_checkpoints(rescued)), None)
    if newest is None:
        return
    there = next(iter(newest_checkpoints(folder)), None)
    if there is None or step_of(there) < step_of(newest):
        # The checkpoint comes last: until it is there, the trial is unchanged.
        files = [*sorted(rescued.glob("previews/*.png")), rescued / recording.NAME, newest]
        for path in files:
            target = folder / path.relative_to(rescued)
            target.parent.mkdir(exist_ok=True)
            write_whole(target, path.read_bytes())
        tell(f"step {step_of(newest)} was taken back from {rescued}")
    shutil.rmtree(rescued)


def _place(rescue: Path, folder: Path) -> Path:
    """A trial's folder within a rescue folder; trials with the same name get different ones."""
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return rescue / f"{folder.resolve().name}-{digest[:8]}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
