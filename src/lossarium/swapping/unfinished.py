"""The ledger of a swap: which pictures are written, so that the same command continues after an interruption.

OUT/.lossarium-swap.jsonl    while a folder is swapped; removed at the end
OUT/.lock                    while a command works in OUT; removed when it ends

The first line identifies the swap: the trial with its weights, the identity, how faces are finished. Each
picture adds a line, before it is written, with the SHA-256 of its file and the sizes and modification times
of its inputs. A picture counts as finished if its file has that SHA-256 and its inputs are unchanged.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lossarium.facesets.remarks import Remark
from lossarium.files import remove_leftovers
from lossarium.swapping.jobs import SwapJob
from lossarium.text.wording import printable_name
from lossarium.training.folder_lock import LOCK, locked

NAME = ".lossarium-swap.jsonl"
_LARGEST = 1 << 28


@contextmanager
def locked_out(out: Path) -> Iterator[None]:
    """Lock the output folder of a swap, and create it if it does not exist.

    Afterwards the lock file is removed, and so is the folder if nothing was written to it.

    Args:
        out: The folder. If it is a file, it is not locked: `find_jobs` reports the error.

    Raises:
        LossariumError: another process swaps to it, or it cannot be written.
    """
    if out.exists() and not out.is_dir():
        yield
        return
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    name = printable_name(out)
    try:
        with locked(
            out,
            busy=f"another process is swapping to {name}; wait for it, or choose another folder",
            unwritable=f"cannot write to the folder {name}: {{reason}}; choose another one",
        ):
            try:
                yield
            finally:
                # Removed while it is locked: a process that opens the name afterwards creates and locks a new
                # file. Windows refuses to remove an open file, so there it is removed on release.
                with suppress(OSError):
                    (out / LOCK).unlink()
    finally:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def swap_digest(trial: str, identity: int, finish: Mapping[str, object]) -> str:
    """SHA-256, in hex, of everything that determines the pictures besides the input.

    Args:
        trial: `TrainedModel.digest`.
        identity: The decoder.
        finish: How faces are finished, as a table.
    """
    return hashlib.sha256(json.dumps([trial, identity, dict(finish)]).encode()).hexdigest()


class Ledger:
    """The record of what a swap to a folder has written so far."""

    def __init__(self, out: Path, digest: str) -> None:
        """Read the record of an interrupted swap, if it was the same one.

        Args:
            out: The folder that is written to.
            digest: From `swap_digest`.
        """
        self._out, self._digest = out, digest
        self._path = out / NAME
        self._length, self._rows = _read(self._path, digest)
        self._begun = False
        self._ready: set[Path] = set()
        self._checked: dict[Path, frozenset[Remark] | None] = {}

    def remarks_of(self, job: SwapJob) -> frozenset[Remark] | None:
        """The remarks on a finished picture; None if it is not finished."""
        if job.output not in self._checked:
            self._checked[job.output] = self._check(job)
        return self._checked[job.output]

    def _check(self, job: SwapJob) -> frozenset[Remark] | None:
        row = self._rows.get(self._name(job))
        if row is None or row.get("made_from") != _made_from(job) or not job.output.is_file():
            return None
        if row.get("sha256") != hashlib.sha256(job.output.read_bytes()).hexdigest():
            return None
        known = {remark.name: remark for remark in Remark}
        return frozenset(known[name] for name in row.get("remarks", ()) if name in known)

    def will_write(self, job: SwapJob, content: bytes, remarks: frozenset[Remark]) -> None:
        """Record a picture that is about to be written.

        Raises:
            OSError: the disk is full or refuses.
        """
        self._begin(job.output.parent)
        self._append(
            {
                "output": self._name(job),
                "sha256": hashlib.sha256(content).hexdigest(),
                "made_from": _made_from(job),
                "remarks": sorted(remark.name for remark in remarks),
            }
        )

    def _begin(self, folder: Path) -> None:
        """Prepare a folder for writing; removes temporary files of killed processes."""
        if folder not in self._ready:
            remove_leftovers([folder])
            self._ready.add(folder)
        if self._begun:
            return
        self._begun = True
        if self._length:
            # An incomplete last line would spoil the next one.
            os.truncate(self._path, self._length)
        else:
            self._out.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._append({"swap": self._digest})

    def finish(self) -> None:
        """Remove the record, since everything is written."""
        self._path.unlink(missing_ok=True)

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _name(self, job: SwapJob) -> str:
        return job.output.relative_to(self._out).as_posix()


def _read(path: Path, digest: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The length of the complete lines, and the rows by their output; nothing if it belongs to another
    swap."""
    try:
        if path.stat().st_size > _LARGEST:
            return 0, {}
        lines = path.read_bytes().split(b"\n")[:-1]
        first, *rows = (json.loads(line) for line in lines)
        if first != {"swap": digest}:
            return 0, {}
        by_output = {str(row["output"]): dict(row) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return 0, {}
    return sum(len(line) + 1 for line in lines), by_output


def _made_from(job: SwapJob) -> list[list[int]]:
    """Size and modification time of the files that a picture is made from."""
    files = [job.path if job.packed is None else job.packed.archive]
    if job.mask is not None:
        files.append(job.mask.path)
    return [[status.st_size, status.st_mtime_ns] for status in (file.stat() for file in files)]
