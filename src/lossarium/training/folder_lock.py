"""A folder belongs to one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lossarium.errors import LossariumError


@contextmanager
def locked_trial(folder: Path) -> Iterator[None]:
    """Hold a trial's folder against a second process.

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
    """Make a folder if need be, and hold it.

    Args:
        folder: Which.
        busy: What is said where another process holds it.
        unwritable: What is said where it cannot be made or written; `{reason}` stands for why.

    Raises:
        LossariumError: one of these.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LossariumError(busy) from None
    except OSError as error:
        raise LossariumError(unwritable.replace("{reason}", str(error.strerror))) from None
    try:
        yield
    finally:
        lock.release()
