"""A trial's folder belongs to one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lossarium.errors import LossariumError


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a trial's folder against a second process.

    Raises:
        LossariumError: another process trains in it, or it cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LossariumError(f"another process is training in {folder}; wait for it, or stop it") from None
    except OSError as error:
        raise LossariumError(f"cannot write to the trial's folder {folder}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
