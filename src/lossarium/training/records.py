"""`metrics.jsonl`: what happened in a trial, a JSON object a line, the source of truth for all that is shown.

Three kinds of rows, told apart by their keys:

    {"step": 1, "seconds": 0.07, "loss": 0.31, "terms": {"ssim": 0.2, "mae": 0.11}, "batches": "<sha-256>"}
    {"step": 50, "seconds": 3.4, "held_out": {"reconstruction/psnr": [21.3, ...], ...}}
    {"step": 500, "seconds": 34.0, "finished": true, "weights": "<sha-256>"}
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossarium.errors import LossariumError

NAME = "metrics.jsonl"
Row = dict[str, Any]

_LONGEST_LAST_ROW = 4096


class Records:
    """The open `metrics.jsonl` of a trial that is running."""

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        """Go on after `keep_bytes`: what was written past the last checkpoint is written anew."""
        path = folder / NAME
        path.touch()
        os.truncate(path, keep_bytes)
        self._file = path.open("ab")

    def write(self, row: Row) -> None:
        """Append one row."""
        self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> int:
        """Have all rows on disk; returns the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


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
