"""The two folders of faces that a command works on."""

import argparse
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.errors import LossariumError

if TYPE_CHECKING:
    from lossarium.facesets.faceset import Faceset

_DEMO = "demo"


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Register A, B and what is said about reading them."""
    parser.add_argument(
        "a", metavar="A", help='folder of one identity\'s frames (JPEG, PNG, WebP), or "demo"'
    )
    parser.add_argument("b", metavar="B", nargs="?", help="folder of the other identity's frames")
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")


def load_pair(arguments: argparse.Namespace) -> tuple[tuple["Faceset", "Faceset"], tuple[str, ...]]:
    """Read both facesets at `--size`; prints what their user ought to know, and gives that, too."""
    from lossarium.cli.counting import counting
    from lossarium.facesets.folder import load

    folders = _folders(arguments)
    with counting("reading pictures", time_left=False) as watch:
        loaded = [
            load(folder, arguments.size, skip_bad=arguments.skip_bad, progress=watch) for folder in folders
        ]
    notes = tuple(note for faceset in loaded for note in faceset.notes)
    if arguments.a == _DEMO:
        notes += ("The bundled faces are synthetic: rendered from made-up identities, nobody's likeness.",)
    for note in notes:
        print(f"note: {note}")
    return _told_apart(loaded[0].faceset, loaded[1].faceset), notes


def default_out(prefix: str, arguments: argparse.Namespace, facesets: tuple["Faceset", "Faceset"]) -> Path:
    """The folder that a command writes to where none is given."""
    if arguments.a == _DEMO:
        return Path(f"{prefix}-{_DEMO}")
    names = "-".join(re.sub(r"[^\w.-]+", "_", faceset.identity) for faceset in facesets)
    return Path(f"{prefix}-{names}")


def _folders(arguments: argparse.Namespace) -> tuple[Path, Path]:
    if arguments.a == _DEMO and arguments.b in (None, _DEMO):
        bundled = Path(str(files("lossarium.facesets"))) / "bundled"
        return bundled / "ada", bundled / "ben"
    if arguments.b is None:
        raise LossariumError('two folders are needed, A and B, or the word "demo" for the bundled pair')
    first, second = Path(arguments.a), Path(arguments.b)
    if first.is_dir() and second.is_dir() and first.samefile(second):
        raise LossariumError(f"A and B are the same folder, {first}; give each identity a folder of its own")
    return first, second


def _told_apart(first: "Faceset", second: "Faceset") -> tuple["Faceset", "Faceset"]:
    """Folders may share a name (ada/aligned and ben/aligned); a report has to tell them apart."""
    if first.identity != second.identity:
        return first, second
    return replace(first, identity=f"{first.identity} A"), replace(second, identity=f"{second.identity} B")
