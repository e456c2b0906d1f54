"""Files that are whole or not there, whatever happens while they are written."""

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.([0-9]{1,10})\.part")
_SECONDS_IN_USE = 3600.0


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, flush to disk, rename; a reader never sees half of it.

    Raises:
        OSError: the folder cannot be written or has no room; what was at `path` is still there.
    """
    # Not tempfile: its files are for their owner alone.
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
    """What a file is called before it is whole; says which process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove temporary files of processes that ended before they could rename or remove them.

    To be called while nothing is being written there by this process; what other processes write stays. A
    folder that is not there has none.
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
        # There is no harmless way to ask for a process by its number.
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
    """Make a rename survive a power cut. Windows has no way to ask for it, and no need to."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
