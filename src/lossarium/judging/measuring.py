"""Measure pictures of any origin against reference pictures, with any loss or measure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.facesets.remarks import Remark
from lossarium.facesets.whole_pictures import read_whole_picture
from lossarium.judging.held_out import as_tensor
from lossarium.judging.pairs import Pair
from lossarium.losses.module import Loss
from lossarium.losses.registry import info, names
from lossarium.losses.spec import Spec, parse, split
from lossarium.text.wording import counted, printable_name

ALL = "all"
"""In a list of columns: every loss and measure."""

# The usual measures.
_USUAL = ("psnr", "ssim", "ms_ssim", "gmsd", "lpips", "flip")

Progress = Callable[[int, int], None]
"""Called with the number of pairs measured so far, and of all pairs."""


@dataclass(frozen=True)
class Column:
    """A loss or a measure to measure with."""

    spec: Spec
    required: bool
    """Whether the user named it; if so, pictures that it cannot measure are an error."""

    def __str__(self) -> str:
        return str(self.spec)

    @property
    def better(self) -> Literal["lower", "higher", "nearer to 0"] | None:
        """Which values are better; None if unknown, as for a sum that has a measure in it."""
        declared = [info(term.name) for term in self.spec.terms]
        if all(loss.objective for loss in declared):
            return "lower"
        if len(declared) > 1:
            return None
        # A measure that cannot be minimised is signed, or a similarity.
        return "nearer to 0" if declared[0].range == "(-inf, inf)" else "higher"

    @property
    def is_one_minus(self) -> bool:
        """Whether it is 1 minus the similarity that usually has its name, as SSIM."""
        return len(self.spec.terms) == 1 and info(self.spec.terms[0].name).formula.startswith("1 - ")


@dataclass(frozen=True)
class MeasuredPair:
    """The values of one pair."""

    pair: Pair
    width: int
    height: int
    values: tuple[float | None, ...]
    """One value per column; None if the column cannot measure these pictures."""


@dataclass(frozen=True)
class Measured:
    """The values of all pairs, their means, and remarks."""

    columns: tuple[Column, ...]
    rows: tuple[MeasuredPair, ...]
    means: tuple[float | None, ...]
    """The mean of each column, over the pairs that it could measure."""
    notes: tuple[str, ...]
    """Remarks on the values, a sentence each."""


def columns(text: str | None) -> tuple[Column, ...]:
    """Read a list of losses and measures.

    Args:
        text: Specs separated by commas, which may name measures that cannot be minimised, and "all"; None for
            the field's usual measures.

    Raises:
        LossariumError: a spec cannot be read.

    >>> [str(column) for column in columns("psnr, ssim(window=7), 0.5*mae + mse")]
    ['psnr', 'ssim(window=7)', '0.5*mae + mse']
    """
    if text is None:
        return tuple(Column(parse(name, measures=True), False) for name in _USUAL if name in names())
    found: dict[str, Column] = {}
    for piece in split(text):
        if piece == ALL:
            for name in names():
                found.setdefault(name, Column(parse(name, measures=True), False))
        else:
            spec = parse(piece, measures=True)
            found[str(spec)] = Column(spec, True)
    return tuple(found.values())


def measure(pairs: Sequence[Pair], columns: tuple[Column, ...], progress: Progress | None = None) -> Measured:
    """Measure pairs one after the other, so that only one is in memory.

    A test picture is a loss's input and the reference its target, as RGB in [0, 1]; each value is that of the
    loss's function.

    Raises:
        LossariumError: a picture cannot be read, the two of a pair or their mask differ in size, or a
            required column cannot measure them.
    """
    rows: list[MeasuredPair] = []
    remarks: Counter[Remark] = Counter()
    # Column -> reason why it could not measure a pair -> count.
    unable: dict[Column, Counter[str]] = {column: Counter() for column in columns}
    for pair in pairs:
        test, reference, weight = _read(pair, remarks)
        values = tuple(_value(column, pair, test, reference, weight, unable[column]) for column in columns)
        rows.append(MeasuredPair(pair, width=test.shape[3], height=test.shape[2], values=values))
        if progress is not None:
            progress(len(rows), len(pairs))
    return Measured(
        columns,
        tuple(rows),
        tuple(_mean([row.values[place] for row in rows]) for place in range(len(columns))),
        (*_notes_on_values(columns), *_notes_on_gaps(unable, len(rows)), *notes_on_reading(remarks)),
    )


def _read(pair: Pair, remarks: Counter[Remark]) -> tuple[Tensor, Tensor, Tensor | None]:
    reference = read_whole_picture(pair.reference, pair.packed_reference)
    test = read_whole_picture(pair.test, pair.packed_test)
    _check_equal_sizes(pair.reference, reference.pixels, pair.test, test.pixels, "pictures")
    remarks.update(reference.remarks)
    remarks.update(test.remarks)
    weight = None
    if pair.mask is not None:
        mask = pair.mask.read()
        _check_equal_sizes(pair.test, test.pixels, pair.mask.path, mask, "a picture and a mask")
        weight = as_tensor(mask[None, ..., None])
    return as_tensor(test.pixels[None]), as_tensor(reference.pixels[None]), weight


def _check_equal_sizes(
    first: Path, one: npt.NDArray[np.uint8], second: Path, other: npt.NDArray[np.uint8], what: str
) -> None:
    if one.shape[:2] != other.shape[:2]:
        sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (one, other)]
        raise LossariumError(
            f"{printable_name(first)} is {sizes[0]} pixels and {printable_name(second)} is {sizes[1]}; "
            f"only {what} of one size can be measured"
        )


@torch.inference_mode()
def _value(
    column: Column,
    pair: Pair,
    test: Tensor,
    reference: Tensor,
    weight: Tensor | None,
    unable: Counter[str],
) -> float | None:
    try:
        return float(Loss(column.spec)(test, reference, weight))
    except (LossariumError, MemoryError, RuntimeError) as error:
        reason = reason_of_failure(error)
        if column.required:
            raise LossariumError(f"{column} cannot measure {printable_name(pair.test)}: {reason}") from error
        unable[reason] += 1
        return None


def reason_of_failure(error: Exception) -> str:
    """Why a measure failed, for the middle of a sentence; errors of programming are raised again."""
    if isinstance(error, LossariumError):
        return str(error)
    # Torch reports a failed allocation as a RuntimeError.
    if isinstance(error, MemoryError) or "memory" in str(error):
        return "it needs more memory than this machine has free for pictures of this size"
    raise error


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _notes_on_values(columns: tuple[Column, ...]) -> list[str]:
    one_minus = [str(column) for column in columns if column.is_one_minus]
    if not one_minus:
        return []
    which = one_minus[0] if len(one_minus) == 1 else f"{', '.join(one_minus[:-1])} and {one_minus[-1]}"
    verb, are = ("is", "a loss") if len(one_minus) == 1 else ("are", "losses")
    return [f"{which} {verb} {are}: 1 minus the usual similarity, 0 for equal pictures."]


def _notes_on_gaps(unable: dict[Column, Counter[str]], pairs: int) -> list[str]:
    return [
        f"{column} has no value{'' if pairs == 1 else f' for {count} of {pairs} pairs'}: {reason}."
        for column, reasons in unable.items()
        for reason, count in reasons.items()
    ]


def notes_on_reading(remarks: Counter[Remark]) -> list[str]:
    """Remarks on how pictures were read, a sentence each."""
    return [
        f"{counted(count, 'picture')} {remark.value[0 if count == 1 else 1]}."
        for remark, count in remarks.items()
    ]
