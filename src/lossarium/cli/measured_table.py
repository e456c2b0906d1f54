"""The results of `lossarium measure` as a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossarium.judging.measuring import Column, Measured
from lossarium.text.plain import plain

_ARROWS = {"lower": " ↓", "higher": " ↑", "nearer to 0": " →0", None: ""}
_ARROWS_EXPLAINED = {
    "lower": "↓ lower is better",
    "higher": "↑ higher is better",
    "nearer to 0": "→0 nearer to 0 is better",
}
_NOTHING = "-"
_DIGITS = 4
# Characters that the table puts between two columns, and at both edges together.
_GAP, _EDGES = 3, 2
# The width for names of pictures. A longer name keeps its end, where names differ.
_LONGEST_NAME = 32


@dataclass(frozen=True)
class _Printed:
    """A column as text."""

    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))

    @property
    def width_of_cells(self) -> int:
        return max(map(cell_len, self.cells))


def print_measured(measured: Measured, of_folders: bool, notes: Sequence[str], console: Console) -> None:
    """Print a row per pair and, for folders, their mean, with as many columns side by side as fit the width.

    A single pair whose columns do not fit is printed as a list.
    """
    # Replaced before the widths are measured: a substitute may be longer than the original.
    rows = [plain(row.pair.name, console.encoding) for row in measured.rows]
    if of_folders:
        rows.append("mean")
    labels = _Printed("", [_shortened(name) for name in rows])
    printed = [
        _printed(measured, place, of_folders, console.encoding) for place in range(len(measured.columns))
    ]
    blocks = list(_blocks(labels, printed, console.width))
    if len(blocks) > 1 and len(rows) == 1:
        console.print(_list(rows[0], printed))
    else:
        for block in blocks:
            console.print(_block(labels, block, with_mean=of_folders))
    console.print(", ".join(_legend(measured.columns)), style="dim")
    for note in notes:
        console.print(escape(note), style="dim")


def _printed(measured: Measured, place: int, with_mean: bool, encoding: str) -> _Printed:
    column = measured.columns[place]
    values = [row.values[place] for row in measured.rows]
    if with_mean:
        values.append(measured.means[place])
    return _Printed(plain(f"{column}{_ARROWS[column.better]}", encoding), _texts(values))


def _texts(values: Sequence[float | None]) -> list[str]:
    """The values of one column as text, with as many decimals as give the largest four digits."""
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(known, default=0.0)
    decimals = _DIGITS - 1 if largest == 0 else max(0, _DIGITS - 1 - math.floor(math.log10(largest)))
    if decimals > 2 * _DIGITS:
        return [_NOTHING if value is None else f"{value:.{_DIGITS - 1}e}" for value in values]
    return [_NOTHING if value is None else f"{value:.{decimals}f}" for value in values]


def _shortened(name: str) -> str:
    return name if cell_len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _blocks(labels: _Printed, printed: Sequence[_Printed], width: int) -> Iterator[list[_Printed]]:
    block: list[_Printed] = []
    taken = labels.width + _EDGES
    for column in printed:
        if block and taken + _GAP + column.width > width:
            yield block
            block, taken = [], labels.width + _EDGES
        block.append(column)
        taken += _GAP + column.width
    yield block


def _block(labels: _Printed, columns: Sequence[_Printed], *, with_mean: bool) -> Table:
    table = _empty_table()
    table.add_column(labels.heading, no_wrap=True)
    for column in columns:
        # A long heading may take two lines, a number never.
        table.add_column(escape(column.heading), justify="right", min_width=column.width_of_cells)
    for place, label in enumerate(labels.cells):
        is_mean = with_mean and place == len(labels.cells) - 1
        if is_mean:
            table.add_section()
        cells = (column.cells[place] for column in columns)
        table.add_row(escape(label), *cells, style="bold" if is_mean else "")
    return table


def _list(name: str, columns: Sequence[_Printed]) -> Table:
    table = _empty_table()
    table.add_column("")
    table.add_column(escape(name), justify="right")
    for column in columns:
        table.add_row(escape(column.heading), column.cells[0])
    return table


def _empty_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


def _legend(columns: Sequence[Column]) -> Iterator[str]:
    for better in dict.fromkeys(column.better for column in columns):
        if better is not None:
            yield _ARROWS_EXPLAINED[better]
