"""`metrics.jsonl`: the log of a trial, one JSON object per line, from which reports are made.

Kinds of rows, told apart by their keys:

    {"step": 1, "seconds": 0.07, "loss": 0.31, "terms": {"ssim": 0.2, "mae": 0.11}, "gradient_norm": 1.7,
     "learning_rate": 0.001, "batches": "<sha-256>"}
    {"step": 2, "seconds": 0.14, "passed_over": {"ssim": null, "mae": 0.11}, "batches": "<sha-256>"}
    {"step": 50, "seconds": 3.4, "held_out": {"reconstruction/psnr": [21.3, ...], ...},
     "judged": "sample", "sample": {"reconstruction": [4, 12, ...], "swap": [...]}}
    {"step": 60, "seconds": 4.1, "control": {"learning_rate": 1e-05}}
    {"step": 80, "seconds": 5.5, "went_back": {"from": 93, "term": "ssim", "learning_rate_factor": 0.5}}
    {"step": 500, "seconds": 34.0, "finished": true, "weights": "<sha-256>"}

`judged` and `sample` are there if a sample of the held-out frames is judged during training. `sample` has,
for each task, the places of its pictures among all that are scored: "sample" rows have values of these
pictures alone, and "all" rows of all pictures.

The last key of a row is `chain`: the first 16 hex digits of the SHA-256 over the chain of the row before
(16 zeros before the first) and the row's text without it. A digit that changes or a row that is lost breaks
the chain there. Files of versions before the chain are read as they are.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lossarium.errors import LossariumError
from lossarium.training.row_kinds import mistake_in

NAME = "metrics.jsonl"
Row = dict[str, Any]

_LONGEST_LAST_ROW = 4096
_SECONDS_BETWEEN_WRITES = 1.0
_DIGITS = 16
_BEFORE_THE_FIRST = b"0" * _DIGITS
_LINK = re.compile(rb',"chain":"([0-9a-f]{16})"}\n$')
_LINK_BYTES = len(',"chain":""}\n') + _DIGITS
_MOST_NAMED = 5


class Records:
    """The open `metrics.jsonl` of a running trial."""

    def __init__(self, folder: Path, keep_bytes: int, told: Callable[[Row], None] = lambda _: None) -> None:
        """Continue after `keep_bytes`: rows after the last checkpoint are written again.

        Args:
            folder: The trial's.
            keep_bytes: How many bytes of the file to keep.
            told: Called with every row.

        Raises:
            LossariumError: the file is shorter than that.
        """
        path = folder / NAME
        path.touch()
        if path.stat().st_size < keep_bytes:
            raise LossariumError(
                f"{path} is shorter than when its last checkpoint was written; put back a copy of it"
            )
        os.truncate(path, keep_bytes)
        self._file = path.open("r+b", buffering=0)
        self._length = keep_bytes
        self._chain = _chain_at(self._file, keep_bytes)
        self._told = told
        self._pending: list[bytes] = []
        self._written_at = time.monotonic()

    def write(self, row: Row) -> None:
        """Append one row: at once or within a second, or later if the disk is full."""
        line, self._chain = _linked(json.dumps(row, separators=(",", ":")).encode(), self._chain)
        self._pending.append(line)
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self._written_at = time.monotonic()
            with suppress(OSError):
                self._write_pending()
        self._told(row)

    def flush(self) -> int:
        """Write all rows to disk; returns the length in bytes.

        Raises:
            OSError: the disk is full or refuses; the rows are kept for the next time.
        """
        self._write_pending()
        os.fsync(self._file.fileno())
        return self._length

    def _write_pending(self) -> None:
        content = b"".join(self._pending)
        # Overwrites a part of the same rows that was written before the disk was full.
        self._file.seek(self._length)
        written = 0
        while written < len(content):
            written += self._file.write(content[written:]) or 0
        self._length += written
        self._pending = []

    def roll_back(self, length: int) -> None:
        """Drop the rows after `length` bytes."""
        self._pending = []
        self._file.truncate(length)
        self._length = length
        self._chain = _chain_at(self._file, length)

    def content(self) -> bytes:
        """All rows, including those that are not on disk yet."""
        self._file.seek(0)
        on_disk = self._file.read(self._length)
        return b"".join((on_disk, *self._pending))

    def close(self) -> None:
        with suppress(OSError):
            self._write_pending()
        self._file.close()


class NullRecords:
    """The records of a process that writes none, with the methods of `Records`."""

    def write(self, row: Row) -> None:
        """Do nothing."""

    def flush(self) -> int:
        """Do nothing; returns 0."""
        return 0

    def roll_back(self, length: int) -> None:
        """Do nothing."""

    def content(self) -> bytes:
        """No rows."""
        return b""

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Damage:
    """A damaged line of `metrics.jsonl`."""

    line: int
    """From 1."""
    start: int
    """The number of bytes before it."""
    what: str
    """What is wrong with it, for the middle of a sentence."""


def read(folder: Path) -> Iterator[Row]:
    """The rows of a trial, without `chain` and without an incomplete last line.

    Raises:
        LossariumError: a line was changed or lost, or is not a row; the message names all such lines.
    """
    path = folder / NAME
    damages: list[Damage] = []
    for row in _rows(path, damages):
        if damages:
            break
        yield row
    if damages:
        damages = list(damage(folder))
        raise LossariumError(
            f"{path} is damaged in {named(damages)}; put back a copy of it, or move {folder} elsewhere and "
            "run the same command again, which trains this trial again; its checkpoints are not affected"
        )


def intact_bytes(folder: Path) -> tuple[int, str]:
    """The number of intact bytes of a trial's file, and what is wrong after them, for a sentence."""
    damages = list(damage(folder))
    if damages:
        return damages[0].start, f"is damaged in {named(damages)}"
    path = folder / NAME
    if not path.is_file():
        return 0, "is missing"
    with path.open("rb") as file:
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
    # A power cut may leave zeros without an end of line: half a line, on which no checkpoint depends.
    half = path.stat().st_size > whole
    return whole, "ends in half a line" if half else "is shorter than it was"


def damage(folder: Path) -> Iterator[Damage]:
    """Every damaged line of a trial's rows; none if there are no rows yet."""
    path = folder / NAME
    if not path.is_file():
        return
    found: list[Damage] = []
    for _ in _rows(path, found):
        yield from found
        found.clear()
    yield from found


def named(damages: list[Damage]) -> str:
    """The first few damaged lines, for a sentence."""
    first = ", ".join(f"line {one.line} ({one.what})" for one in damages[:_MOST_NAMED])
    rest = len(damages) - _MOST_NAMED
    return f"{first} and {rest} more" if rest > 0 else first


def _rows(path: Path, damages: list[Damage]) -> Iterator[Row]:
    """The rows; an empty one for a damaged line, which is added to `damages`."""
    chain, chained, start, step = _BEFORE_THE_FIRST, False, 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            text, link = _unlinked(line)
            row, mistake = _parsed(text)
            if mistake is None and link is None and chained:
                mistake = "its checksum is missing"
            if mistake is None and link is not None and link != _next_link(text, chain):
                mistake = _why_broken(row, step)
            if mistake is not None:
                damages.append(Damage(number, start, mistake))
            # Continue the chain from this row as it is, so that later rows are checked on their own.
            if link is not None:
                chain, chained = link, True
            start += len(line)
            if "step" in row:
                step = row["step"]
            yield row if mistake is None else {}


def _why_broken(row: Row, step: int) -> str:
    lost = row["step"] - step - 1
    before = (
        "the line" if lost < 1 else f"step {step + 1}" if lost == 1 else f"steps {step + 1} to {step + lost}"
    )
    return f"it was changed, or {before} before it {'are' if lost > 1 else 'is'} lost"


def _linked(text: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """The line of a row, and its chain link."""
    link = _next_link(text, chain)
    return text[:-1] + b',"chain":"' + link + b'"}\n', link


def _unlinked(line: bytes) -> tuple[bytes, bytes | None]:
    """A row's text without its link, and the link, if it has one."""
    match = _LINK.search(line[-_LINK_BYTES:])
    return (line[:-1], None) if match is None else (line[:-_LINK_BYTES] + b"}", match[1])


def _next_link(text: bytes, chain: bytes) -> bytes:
    return hashlib.sha256(chain + text).hexdigest()[:_DIGITS].encode()


def _chain_at(file: BinaryIO | Any, length: int) -> bytes:
    """The link of the row that ends after `length` bytes."""
    file.seek(max(0, length - _LINK_BYTES))
    match = _LINK.search(file.read(min(length, _LINK_BYTES)))
    return _BEFORE_THE_FIRST if match is None else match[1]


def _parsed(text: bytes) -> tuple[Row, str | None]:
    """A row, or what is wrong with it."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return {}, "it is not JSON"
    if not isinstance(row, dict):
        return {}, "it is not a JSON object"
    mistake = mistake_in(row)
    return ({} if mistake else row), mistake


def sampled_scores(row: Row) -> dict[str, list[float]]:
    """The scores of the pictures that every evaluation judges, so that evaluations can be compared.

    >>> sampled_scores({"held_out": {"swap/mae": [1, 2, 3]}, "judged": "all", "sample": {"swap": [0, 2]}})
    {'swap/mae': [1, 3]}
    """
    scores: dict[str, list[float]] = row.get("held_out", {})
    if row.get("judged") != "all":
        return scores
    places = {key: row["sample"][key.partition("/")[0]] for key in scores}
    return {key: [values[place] for place in places[key]] for key, values in scores.items()}


def is_finished(folder: Path) -> bool:
    """Whether the trial in this folder is finished."""
    path = folder / NAME
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_LAST_ROW))
        last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return b'"finished":true' in last
