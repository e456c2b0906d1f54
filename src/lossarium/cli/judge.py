"""`lossarium judge REFERENCES NAME=FOLDER ...`: a verdict on folders of pictures that anything made."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.margins import add_margins, margins_of
from lossarium.cli.progress_bar import progress_bar
from lossarium.errors import LossariumError
from lossarium.text.plain import plain
from lossarium.text.unicode_names import same_form
from lossarium.text.wording import printable_name

if TYPE_CHECKING:
    from lossarium.comparison.judged_folders import JudgedFolders
    from lossarium.judging.judges import Judge

_DESCRIPTION = """\
Judge folders of pictures, made by any models, against a folder of references: which of them is better, beyond
luck? Pictures are matched by name. Several folders of one name are runs (seeds) of one method: with three of
each or more, the verdict is about methods; with one folder a name, it is about these pictures."""

_EXAMPLES = """\
examples:
  lossarium judge truth/ ours=results/ours theirs=results/theirs
  lossarium judge truth/ gan=gan/seed0 gan=gan/seed1 gan=gan/seed2 vae=vae/seed0 vae=vae/seed1 vae=vae/seed2
  lossarium judge video/ a=a/ b=b/ --blocks 100 --masks faces/ --margin psnr=0.2 --out verdict/
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "judge",
        help="judge folders of pictures made by anything",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("references", metavar="REFERENCES", type=Path, help="the folder of true pictures")
    parser.add_argument(
        "folders",
        metavar="NAME=FOLDER",
        nargs="+",
        help="a folder of pictures and the name of the method that made them; several folders of one name "
        "are runs of the same method",
    )
    parser.add_argument(
        "--judges",
        metavar="LIST",
        help="judges, separated by commas (default: psnr, mae, ssim, lpips); lossarium judges lists them",
    )
    add_margins(parser)
    parser.add_argument(
        "--blocks",
        metavar="N|FILE",
        help="pictures that are not independent count as one: N consecutive ones, or as a text file says, "
        "with a line name,label for each (default: 25 blocks of consecutive pictures, as of a video; "
        "1: all are independent)",
    )
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="MASKS",
        help="a folder of grey pictures named like the references, white where pixels count; or one such "
        "picture for all; or a faceset made by Lossarium, of which the faces count",
    )
    parser.add_argument(
        "--common", action="store_true", help="leave out pictures that are not in every folder"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out pictures that cannot be read, in every folder"
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="enter linked folders, and read linked pictures wherever they lie, each once",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write verdict.json, report.html and scores.csv to this folder",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the contents of verdict.json and nothing else"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge, print the verdict, write the report."""
    if "torch" not in sys.modules:
        # Torch's threads then wait without spinning: the threads that read pictures need the cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folders = _folders(arguments.folders)
    out: Path | None = arguments.out
    if out is not None:
        _check_output(out, [arguments.references, *(folder for runs in folders.values() for folder in runs)])

    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.cli.verdict_table import print_verdict
    from lossarium.comparison.judged_folders import judge_folders, verdict_table

    judges = _judges(arguments.judges)
    margins = margins_of(arguments.margins, [judge.name for judge in judges])
    with progress_bar("judging") as watch:
        result = judge_folders(
            arguments.references,
            folders,
            judges,
            margins=margins,
            blocks=arguments.blocks,
            masks=arguments.masks,
            common=arguments.common,
            skip_bad=arguments.skip_bad,
            follow_links=arguments.follow_links,
            progress=watch,
        )
    table = json.dumps(verdict_table(result), indent=1)
    if out is not None:
        _write(result, table, out)
    if arguments.json:
        print(table)
        return 0
    print_verdict(result)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if out is not None:
        print(f"\nReport: {printable_name(out / 'report.html')}")
    return 0


def _folders(texts: Sequence[str]) -> Mapping[str, Sequence[Path]]:
    """Name -> its folders."""
    folders: dict[str, list[Path]] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        name = printable_name(same_form(name.strip()))
        if not equals or not name or not folder:
            raise LossariumError(
                f"{text!r} is not NAME=FOLDER; give each folder a name, such as ours=results/ours"
            )
        folders.setdefault(name, []).append(Path(folder))
    if len(folders) < 2:
        raise LossariumError(
            f"there is nothing to compare {next(iter(folders))} with; give folders of two names at least "
            "(scores without a verdict: lossarium measure)"
        )
    return folders


def _check_output(out: Path, pictures: Sequence[Path]) -> None:
    from lossarium.comparison.winner import is_comparison
    from lossarium.facesets.output_folder import refuse_output_in_faceset, refuse_output_in_pictures

    if out.exists() and not out.is_dir():
        raise LossariumError(f"--out {printable_name(out)} is not a folder; choose another one")
    if is_comparison(out):
        raise LossariumError(
            f"--out {printable_name(out)} is the folder of a comparison, whose verdict it would replace; "
            "choose another one"
        )
    refuse_output_in_faceset(out)
    for folder in pictures:
        refuse_output_in_pictures(out, folder)


def _judges(text: str | None) -> "tuple[Judge, ...]":
    from lossarium.judging.judges import JUDGES, chosen, judges_of
    from lossarium.judging.try_judges import try_judges_on_noise

    judges = judges_of(chosen(text, None)[0])
    try_judges_on_noise([judge for judge in judges if judge not in JUDGES])
    return judges


def _write(result: "JudgedFolders", table: str, out: Path) -> None:
    from lossarium.files import write_whole
    from lossarium.report.folders import write

    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "scores.csv", plain(_csv(result), "utf-8").encode())
    write(result, out / "report.html")
    write_whole(out / "verdict.json", table.encode())


def _csv(result: "JudgedFolders") -> str:
    """A line per picture of each folder."""
    import numpy as np

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "folder", "picture", *(score.key for score in result.scores)))
    for name, runs in result.folders.items():
        for folder in runs:
            columns = [result.values[score.key][folder] for score in result.scores]
            for picture, *values in zip(result.pictures, *columns, strict=True):
                numbers = (str(np.float32(value)) for value in values)
                writer.writerow((name, printable_name(folder), picture, *numbers))
    return text.getvalue()
