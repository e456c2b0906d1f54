"""Writes files atomically: a file is complete or does not exist, even after a crash or a full disk."""

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.([0-9]{1,10})\.part")
_SECONDS_IN_USE = 3600.0


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: under a temporary name, flushed to disk, then renamed.

    Raises:
        OSError: the folder cannot be written or is full; a file that was at `path` is unchanged.
    """
    # Not tempfile: only the owner may read its files.
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """The name of a file while it is written; contains the number of the process that writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove temporary files of processes that ended before they could rename or remove them.

    Call this while this process writes nothing there; files of other running processes stay. Folders that do
    not exist are skipped.
    """
    for folder in folders:
        for path in folder.glob(".*.part"):
            match = _TEMPORARY.fullmatch(path.name)
            if match is not None and not _is_being_written(path, int(match[1])):
                path.unlink(missing_ok=True)


def _is_being_written(path: Path, process: int) -> bool:
    if process == os.getpid():
        return False
    if os.name == "nt":
        # On Windows os.kill(process, 0) would end the process.
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < _SECONDS_IN_USE
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename survives a power cut. Windows cannot and need not do this."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
