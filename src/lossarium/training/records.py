"""`metrics.jsonl`: what happened in a trial, a JSON object a line, the source of truth for all that is shown.

Kinds of rows, told apart by their keys:

    {"step": 1, "seconds": 0.07, "loss": 0.31, "terms": {"ssim": 0.2, "mae": 0.11}, "gradient_norm": 1.7,
     "learning_rate": 0.001, "batches": "<sha-256>"}
    {"step": 2, "seconds": 0.14, "passed_over": {"ssim": null, "mae": 0.11}, "batches": "<sha-256>"}
    {"step": 50, "seconds": 3.4, "held_out": {"reconstruction/psnr": [21.3, ...], ...}}
    {"step": 60, "seconds": 4.1, "control": {"learning_rate": 1e-05}}
    {"step": 80, "seconds": 5.5, "went_back": {"from": 93, "term": "ssim", "learning_rate_factor": 0.5}}
    {"step": 500, "seconds": 34.0, "finished": true, "weights": "<sha-256>"}
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossarium.errors import LossariumError

NAME = "metrics.jsonl"
Row = dict[str, Any]

_LONGEST_LAST_ROW = 4096
_SECONDS_BETWEEN_WRITES = 1.0


class Records:
    """The open `metrics.jsonl` of a trial that is running."""

    def __init__(self, folder: Path, keep_bytes: int, told: Callable[[Row], None] = lambda _: None) -> None:
        """Go on after `keep_bytes`: what was written past the last checkpoint is written anew.

        Args:
            folder: The trial's.
            keep_bytes: How much of the file stays.
            told: Who hears of every row.

        Raises:
            LossariumError: the file is shorter than that.
        """
        path = folder / NAME
        path.touch()
        if path.stat().st_size < keep_bytes:
            raise LossariumError(
                f"{path} is shorter than when its last checkpoint was written; "
                f"put it back, or remove {folder} to train it again"
            )
        os.truncate(path, keep_bytes)
        self._file = path.open("r+b", buffering=0)
        self._length = keep_bytes
        self._told = told
        self._pending: list[bytes] = []
        self._written_at = time.monotonic()

    def write(self, row: Row) -> None:
        """Append one row: at once or within a second, or later where the disk is full."""
        self._pending.append(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self._written_at = time.monotonic()
            with suppress(OSError):
                self._write_pending()
        self._told(row)

    def flush(self) -> int:
        """Have all rows on disk; returns the length in bytes.

        Raises:
            OSError: the disk is full or refuses; the rows are kept for the next time.
        """
        self._write_pending()
        os.fsync(self._file.fileno())
        return self._length

    def _write_pending(self) -> None:
        content = b"".join(self._pending)
        # Over what a full disk took of the same rows the last time.
        self._file.seek(self._length)
        written = 0
        while written < len(content):
            written += self._file.write(content[written:]) or 0
        self._length += written
        self._pending = []

    def go_back(self, length: int) -> None:
        """Forget the rows after `length` bytes."""
        self._pending = []
        self._file.truncate(length)
        self._length = length

    def close(self) -> None:
        with suppress(OSError):
            self._write_pending()
        self._file.close()


class Unrecorded:
    """Where a process writes whose records are another's to keep."""

    def write(self, row: Row) -> None:
        """Nothing is kept."""

    def flush(self) -> int:
        """Nothing has a length."""
        return 0

    def go_back(self, length: int) -> None:
        """Nothing is there to forget."""

    def close(self) -> None:
        """Nothing was open."""


def read(folder: Path) -> Iterator[Row]:
    """The rows of a trial, without a last line that is only half there.

    Raises:
        LossariumError: a line is not a JSON object.
    """
    path = folder / NAME
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise LossariumError(
                    f"{path} is damaged in line {number}; remove the trial's folder to train it again"
                )
            yield row


def is_finished(folder: Path) -> bool:
    """Whether the trial in this folder came to its end."""
    path = folder / NAME
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_LAST_ROW))
        last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return b'"finished":true' in last
