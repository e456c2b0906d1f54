"""`lossarium measure REF TEST`: measure pictures against references, with any loss."""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.progress_bar import progress_bar
from lossarium.errors import LossariumError
from lossarium.text.plain import plain
from lossarium.text.wording import printable_name

if TYPE_CHECKING:
    from lossarium.judging.measuring import Measured

_FORMATS = ("table", "csv", "json")

_DESCRIPTION = """\
Measure a picture against its reference, or a folder of pictures against a folder of references; pictures
whose names are equal up to the ending form a pair. JPEG, PNG and WebP are read at full size, as RGB in
[0, 1]; both pictures of a pair must have the same size."""

_EXAMPLES = """\
examples:
  lossarium measure original.png coded.jpg
  lossarium measure truth/ results/ --losses 'psnr, ssim, lpips(net=vgg)' --output scores.csv
  lossarium measure truth/ results/ --losses all --mask faces/
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "measure",
        help="measure pictures against references",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reference", metavar="REF", type=Path, help="the reference: a picture or a folder")
    parser.add_argument("test", metavar="TEST", type=Path, help="what to measure: a picture or a folder")
    parser.add_argument(
        "--losses",
        metavar="LIST",
        help='losses and measures, separated by commas, or "all" (default: the usual ones)',
    )
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="MASK",
        help="a grey picture, white where pixels count; or a folder of such pictures, named like the pairs; "
        "or a faceset made by Lossarium, of which the faces count",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="format of the output (default: by the ending of --output, else table)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of the terminal")
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="enter linked folders, and read linked pictures wherever they lie, each once",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    output: Path | None = arguments.output
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise LossariumError(f"--output {output} cannot be written; give a file in a folder that exists")

    # Late: torch takes a second to import, and --help should not wait for it.

    from lossarium.cli.console import PlainConsole
    from lossarium.cli.measured_table import print_measured
    from lossarium.files import write_whole
    from lossarium.judging.measuring import columns, measure
    from lossarium.judging.pairs import find_pairs

    chosen = columns(arguments.losses)
    found = find_pairs(
        arguments.reference, arguments.test, arguments.mask, follow_links=arguments.follow_links
    )
    with progress_bar("measuring") as watch:
        measured = measure(found.pairs, chosen, watch)
    notes = (*measured.notes, *found.notes)
    kind = arguments.format or _format_of(output)
    if kind == "table" and output is None:
        print_measured(measured, found.of_folders, notes, PlainConsole(highlight=False))
        return 0
    if kind == "table":
        text = _table_text(measured, found.of_folders, notes)
    else:
        text = (_csv if kind == "csv" else _json)(measured, found.of_folders, notes)
    if output is None:
        print(text, end="")
    else:
        write_whole(output, plain(text, "utf-8").encode())
    if kind == "csv":
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    return 0


def _format_of(output: Path | None) -> str:
    ending = "" if output is None else output.suffix.lower().removeprefix(".")
    return ending if ending in _FORMATS else "table"


def _table_text(measured: "Measured", of_folders: bool, notes: Sequence[str]) -> str:

    from lossarium.cli.console import PlainConsole
    from lossarium.cli.measured_table import print_measured

    # A file has no width to keep to.
    paper = PlainConsole(file=io.StringIO(), width=10_000, highlight=False)
    print_measured(measured, of_folders, notes, paper)
    written = paper.file
    assert isinstance(written, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


def _number(value: float | None) -> float | None:
    """The shortest decimal that is the same number in float32, in which pictures are measured."""
    import numpy as np

    return None if value is None or not math.isfinite(value) else float(str(np.float32(value)))


def _csv(measured: "Measured", of_folders: bool, _notes: Sequence[str]) -> str:
    """A line per pair and, for folders, their mean; a cell is empty where a loss has no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("pair", *measured.columns))
    for row in measured.rows:
        writer.writerow((row.pair.name, *map(_number, row.values)))
    if of_folders:
        writer.writerow(("mean", *map(_number, measured.means)))
    return text.getvalue()


def _json(measured: "Measured", of_folders: bool, notes: Sequence[str]) -> str:
    names = [str(column) for column in measured.columns]
    content: dict[str, object] = {
        "losses": {str(column): {"better": column.better} for column in measured.columns},
        "pairs": [
            {
                "pair": row.pair.name,
                "reference": printable_name(row.pair.reference),
                "test": printable_name(row.pair.test),
                "mask": None if row.pair.mask is None else printable_name(row.pair.mask.path),
                "width": row.width,
                "height": row.height,
                "values": dict(zip(names, map(_number, row.values), strict=True)),
            }
            for row in measured.rows
        ],
        "notes": list(notes),
    }
    if of_folders:
        content["mean"] = dict(zip(names, map(_number, measured.means), strict=True))
    return json.dumps(content, indent=2) + "\n"
