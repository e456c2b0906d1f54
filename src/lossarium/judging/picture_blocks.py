"""Which pictures of a folder are not independent of each other: blocks of neighbours, or labels from a
file."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.text.unicode_names import same_form
from lossarium.text.wording import counted, listed, printable_name

_USUAL_BLOCKS = (25, 16, 12, 8)
"""As many blocks as look independent, from the first number to the last."""
_LARGEST_FILE = 1 << 26
_INDEPENDENT = 0.2
"""Blocks of which neighbours correlate by less than this look independent, or by less than chance does."""
_CORRELATED = 0.3
"""From here on they do not, if it is beyond chance: intervals are then a quarter too short and more."""
_STANDARD_ERRORS = 3
_STANDARD_ERRORS_OF_USUAL_BLOCKS = 2


@dataclass(frozen=True)
class PictureBlocks:
    """The block of each picture."""

    labels: npt.NDArray[np.intp]
    """(pictures,), numbered in order of appearance."""
    caveat: str | None
    """What was assumed, if the user did not say it."""

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return int(self.labels.max()) + 1


def given_blocks(given: str, names: Sequence[str]) -> PictureBlocks:
    """The blocks that a user gave.

    Args:
        given: A number of consecutive pictures per block; or a text file with a line `name,label` each.
        names: The pictures' names without ending, in order.

    Raises:
        LossariumError: it is neither, or the file lacks pictures.

    >>> given_blocks("2", ["a", "b", "c"]).labels.tolist()
    [0, 0, 1]
    """
    if given.strip().isdecimal():
        length = int(given)
        if length < 1:
            raise LossariumError("--blocks must be at least 1 picture")
        return PictureBlocks(np.arange(len(names)) // length, None)
    return PictureBlocks(_from_file(Path(given), names), None)


def usual_blocks(values: Sequence[npt.NDArray[np.float64]]) -> PictureBlocks:
    """25 blocks of consecutive pictures, which may be frames of one video; fewer if these go together.

    Args:
        values: A judge's (names, pictures) each.
    """
    pictures = values[0].shape[1]
    for blocks in _USUAL_BLOCKS:
        length = max(1, math.ceil(pictures / blocks))
        labels = np.arange(pictures) // length
        by_chance = _STANDARD_ERRORS_OF_USUAL_BLOCKS * _standard_error(values, labels)
        if correlation_of_neighbours(values, labels) < max(_INDEPENDENT, by_chance):
            break
    caveat = (
        f"Neighbouring pictures may be frames of one video, so {counted(pictures, 'picture')} count as "
        f"{counted(int(labels[-1]) + 1, 'block')} of {length}, in order of their names; if they are "
        "independent of each other, --blocks 1 says so."
    )
    return PictureBlocks(labels, caveat if length > 1 else None)


def _from_file(path: Path, names: Sequence[str]) -> npt.NDArray[np.intp]:
    shown = printable_name(path)
    if not path.is_file():
        raise LossariumError(
            f"--blocks {shown} is neither a number of pictures nor a file; give one of them, such as "
            "--blocks 50"
        )
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise LossariumError(
                f"the file of blocks {shown} is larger than 64 MB; give a line name,label each"
            )
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise LossariumError(f"the file of blocks {shown} is not text in UTF-8; save it as such") from None
    rows = _rows(text)
    exact: dict[str, str] = {}
    stems: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) != 2:
            raise LossariumError(
                f"line {number} of {shown} is not name,label: {','.join(row)[:80]!r}; give two columns"
            )
        name, label = same_form(row[0]), row[1]
        if exact.setdefault(name, label) != label:
            raise LossariumError(f"{shown} has two labels for {printable_name(name)}; leave one of them out")
        stems[_without_ending(name)] = label
    labels = [exact.get(same_form(name), stems.get(same_form(name))) for name in names]
    missing = [name for name, label in zip(names, labels, strict=True) if label is None]
    if missing:
        have = "has" if len(missing) == 1 else "have"
        raise LossariumError(
            f"{counted(len(missing), 'picture')} {have} no block in {shown}: {listed(missing)}"
        )
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels])


def _rows(text: str) -> list[list[str]]:
    """The cells of each line, separated by a comma, semicolon or tab; else by the last space."""
    first = text.partition("\n")[0]
    separator = next((mark for mark in ("\t", ";", ",") if mark in first), None)
    if separator is None:
        return [[cell.strip() for cell in line.rsplit(None, 1)] for line in text.splitlines()]
    lines = csv.reader(text.splitlines(), delimiter=separator)
    return [[cell.strip() for cell in row] if any(map(str.strip, row)) else [] for row in lines]


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix("")) if name else name


def correlation_of_neighbours(
    values: Sequence[npt.NDArray[np.float64]], labels: npt.NDArray[np.intp]
) -> float:
    """How far neighbouring blocks go together: the largest correlation, over the judges, of differences
    between names; 0 where it is not known.

    Args:
        values: A judge's (names, pictures) each.
        labels: (pictures,), the blocks, numbered in order.
    """
    sizes = np.bincount(labels)
    found = [0.0]
    for of_judge in values:
        if not np.isfinite(of_judge).all():
            continue
        means = np.stack([np.bincount(labels, weights=row) / sizes for row in of_judge])
        means = means - means.mean(0)
        means = means - means.mean(1, keepdims=True)
        square = float((means**2).sum())
        if square > 0:
            found.append(float((means[:, 1:] * means[:, :-1]).sum()) / square)
    return max(found)


def dependence(values: Sequence[npt.NDArray[np.float64]], labels: npt.NDArray[np.intp]) -> float | None:
    """The correlation of neighbouring blocks if it is too large, beyond chance, for independent ones.

    Args:
        values: As for `correlation_of_neighbours`.
        labels: As for `correlation_of_neighbours`.
    """
    together = correlation_of_neighbours(values, labels)
    by_chance = _STANDARD_ERRORS * _standard_error(values, labels)
    return together if together > max(_CORRELATED, by_chance) else None


def _standard_error(values: Sequence[npt.NDArray[np.float64]], labels: npt.NDArray[np.intp]) -> float:
    """Of a correlation of neighbouring blocks, where they are independent."""
    return 1 / math.sqrt((int(labels.max()) + 1) * max(1, len(values[0]) - 1))
