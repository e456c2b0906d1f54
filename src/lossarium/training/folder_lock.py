"""A lock on a folder, so that one process at a time works in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lossarium.errors import LossariumError
from lossarium.files import remove_leftovers

LOCK = ".lock"
"""The file in a folder that is locked; nothing is written to it."""

_WRITTEN_TO = ("checkpoints", "snapshots", "previews")


@contextmanager
def locked_trial(folder: Path) -> Iterator[None]:
    """Lock a trial's folder against other processes.

    Raises:
        LossariumError: another process trains in it, or it cannot be written.
    """
    with locked(
        folder,
        busy=f"another process is training in {folder}; wait for it, or stop it",
        unwritable=f"cannot write to the trial's folder {folder}: {{reason}}",
    ):
        yield


@contextmanager
def locked(folder: Path, *, busy: str, unwritable: str) -> Iterator[None]:
    """Create a folder if it does not exist, and lock it.

    Args:
        folder: The folder.
        busy: The error message if another process holds the lock.
        unwritable: The error message if the folder cannot be made or written, with `{reason}` for the reason.

    Raises:
        LossariumError: one of these.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LossariumError(busy) from None
    except OSError as error:
        raise LossariumError(unwritable.replace("{reason}", str(error.strerror))) from None
    try:
        with suppress(OSError):
            remove_leftovers([folder, *(folder / name for name in _WRITTEN_TO)])
        yield
    finally:
        lock.release()
