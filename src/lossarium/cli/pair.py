"""The two folders of faces that a command reads."""

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.errors import LossariumError
from lossarium.text.wording import printable_name

if TYPE_CHECKING:
    from lossarium.facesets.faceset import Faceset
    from lossarium.facesets.listing import Listing

_DEMO = "demo"


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Register A, B and the options for reading them."""
    parser.add_argument(
        "a", metavar="A", help='folder of one identity\'s frames (JPEG, PNG, WebP), or "demo"'
    )
    parser.add_argument("b", metavar="B", nargs="?", help="folder of the other identity's frames")
    parser.add_argument("--skip-bad", action="store_true", help="skip pictures that cannot be read")
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="enter linked folders, and read linked pictures wherever they lie, each once",
    )
    parser.add_argument(
        "--cache",
        choices=("auto", "always", "never"),
        default="auto",
        help="keep decoded pictures in cache files instead of in memory, and read them from there next time; "
        "auto: if they would take more than half of the available memory, or are cached already "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--cache-folder", type=Path, metavar="FOLDER", help="folder of the cache files (default: OUT/cache)"
    )


def load_pair(
    arguments: argparse.Namespace, prefix: str | None = None
) -> tuple[tuple["Faceset", "Faceset"], tuple[str, ...]]:
    """Read both facesets at `--size`, and print notes for the user; returns the facesets and the notes.

    Args:
        arguments: Those of `add_pair`, and `size`.
        prefix: The command's prefix for `default_out`, if it writes to `--out`: the cache lies in there.
    """
    from lossarium.cli.progress_bar import progress_bar
    from lossarium.facesets.folder import list_folder, load_listing

    first, second = _folders(arguments)
    _refuse_output_in_pictures(arguments, first, second)
    listings = _told_apart(
        *(list_folder(folder, follow_links=arguments.follow_links) for folder in (first, second))
    )
    cache = _cache_folder(arguments, prefix, listings)
    with progress_bar("reading pictures", time_left=False) as watch:
        loaded = [
            load_listing(listing, arguments.size, skip_bad=arguments.skip_bad, progress=watch, cache=cache)
            for listing in listings
        ]
    notes = tuple(note for faceset in loaded for note in (*faceset.notes, *_left_out(faceset.faceset)))
    if arguments.a == _DEMO:
        notes += ("The bundled faces are synthetic: rendered from made-up identities, nobody's likeness.",)
    for note in notes:
        print(f"note: {note}")
    return (loaded[0].faceset, loaded[1].faceset), notes


def _left_out(faceset: "Faceset") -> Iterator[str]:
    """A note if frames are neither trained on nor judged."""
    from lossarium.facesets.faceset import described_split

    if faceset.left_out is not None:
        yield f"{faceset.identity}: {described_split(faceset)}: the nearest frames would be too alike."


def default_out(prefix: str, arguments: argparse.Namespace, facesets: Sequence["Faceset | Listing"]) -> Path:
    """The folder that a command writes to if `--out` is not given."""
    if arguments.a == _DEMO:
        return Path(f"{prefix}-{_DEMO}")
    names = "-".join(re.sub(r"[^\w.-]+", "_", faceset.identity) for faceset in facesets)
    return Path(f"{prefix}-{names}")


def _cache_folder(
    arguments: argparse.Namespace, prefix: str | None, listings: Sequence["Listing"]
) -> Path | None:
    """The folder for the cache of decoded pictures, or None to keep them in memory; tells the user."""
    from lossarium.facesets.cache import decoded_bytes, is_cached
    from lossarium.facesets.memory import available_memory

    if arguments.cache == "never":
        return None
    folder: Path = arguments.cache_folder or _out(arguments, prefix, listings) / "cache"
    needed = sum(decoded_bytes(listing, arguments.size) for listing in listings)
    if all(is_cached(listing, arguments.size, folder) for listing in listings):
        print(f"note: The decoded pictures ({_shown(needed)}) are taken from {folder}.")
    elif arguments.cache == "always":
        print(f"note: The decoded pictures ({_shown(needed)}) are kept in {folder}.")
    else:
        available = available_memory()
        if available is None or 2 * needed <= available:
            return None
        print(
            f"note: The decoded pictures would take {_shown(needed)}, more than half of the "
            f"{_shown(available)} of memory that are available; they are kept in {folder} instead."
        )
    return folder


def _out(arguments: argparse.Namespace, prefix: str | None, listings: Sequence["Listing"]) -> Path:
    out: Path | None = None if prefix is None else arguments.out
    return out or default_out(prefix or "lossarium", arguments, listings)


def _shown(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _refuse_output_in_pictures(arguments: argparse.Namespace, *folders: Path) -> None:
    """Refuse to write into a folder of pictures, where the next trial would read the output as input.

    The default folders lie in the current folder.
    """
    from lossarium.facesets.output_folder import refuse_output_in_pictures

    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise LossariumError(f"--out {printable_name(arguments.out)} is a file; choose a folder")
    for folder in folders:
        refuse_output_in_pictures(arguments.out or Path("lossarium"), folder)
        if getattr(arguments, "rescue", None) is not None:
            refuse_output_in_pictures(arguments.rescue, folder)


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


def _told_apart(first: "Listing", second: "Listing") -> tuple["Listing", "Listing"]:
    """Give identities whose folders share a name (ada/aligned and ben/aligned) different names."""
    if first.identity != second.identity:
        return first, second
    return replace(first, identity=f"{first.identity} A"), replace(second, identity=f"{second.identity} B")
