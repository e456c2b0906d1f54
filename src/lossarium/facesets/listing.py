"""Lists the content of a faceset's folder, before any picture is read."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.formats.manifest import MANIFEST_NAME
from lossarium.facesets.regions.masks_beside import MASKS, masks_of, place_beside, split_masks
from lossarium.facesets.walking import is_skipped, refuse_folder, walk
from lossarium.text.wording import counted, printable_name

PICTURE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
"""Endings looked for in a plain folder, in any case."""


@dataclass(frozen=True)
class Packed:
    """The position of a frame's file within another file."""

    archive: Path
    offset: int
    length: int


@dataclass(frozen=True)
class FrameFile:
    """One frame on disk."""

    name: str
    path: Path
    """Of a packed frame, what it is called in messages."""
    mask: Path | None = None
    """The mask's file, used instead of a mask inside the picture: in Lossarium's own facesets one
    with four channels, elsewhere a grey one."""
    packed: Packed | None = None
    landmarks: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    """(68, 2) in the stored frame's pixels, centres at halves, if the folder says them; otherwise they are
    looked for inside the picture."""


@dataclass(frozen=True)
class Listing:
    """A folder's frames, in order, with the data that is known before they are read."""

    folder: Path
    identity: str
    frames: Sequence[FrameFile]
    source_size: int | None = None
    """Side of the stored frames, if the folder says it."""
    held_out: frozenset[str] | None = None
    """Names of the held-out frames, if the folder says them."""
    states: Sequence[str] | None = None
    """The state digest of each frame, if states are known."""
    notes: tuple[str, ...] = ()
    """Remarks on the folder for its user."""
    follow_links: bool = False
    """Whether links that lead out of the folder count as part of it."""

    def boundary(self) -> Path | None:
        """The folder that links must not lead out of, resolved; None where they may lead anywhere."""
        return None if self.follow_links else self.folder.resolve()


def plain_listing(folder: Path, *, follow_links: bool = False) -> Listing:
    """Any folder of pictures, with its subfolders.

    Pictures in a folder `masks` beside other pictures are their masks, see
    `lossarium.facesets.regions.masks_beside`.

    Args:
        folder: The folder.
        follow_links: Whether linked folders are entered, and links may lead out of the folder.

    Raises:
        LossariumError: it holds no pictures, whole facesets, or several masks for a picture, or it or a
            subfolder cannot be read.
    """
    found_below = walk(folder, follow_links=follow_links, endings=PICTURE_ENDINGS)
    _refuse_whole_facesets(folder, found_below.files)
    pictures, masks = split_masks(
        [Path(file) for file in found_below.files if file.lower().endswith(PICTURE_ENDINGS)]
    )
    pictures.sort(key=natural_order)
    if not pictures:
        raise LossariumError(
            f"The folder {printable_name(folder)} holds no pictures; names that end in "
            f"{', '.join(PICTURE_ENDINGS[:-1])} or {PICTURE_ENDINGS[-1]} are looked for, in subfolders too"
            + "".join(f"; {note}" for note in found_below.notes())
            + "."
        )
    places = [place_beside(path) for path in pictures]
    found = masks_of(places, [path.relative_to(MASKS) for path in masks], folder)
    return Listing(
        folder,
        identity=printable_name(folder.resolve().name) or "pictures",
        frames=[
            FrameFile(printable_name(path), folder / path, None if mask is None else folder / MASKS / mask)
            for path, mask in zip(pictures, found, strict=True)
        ],
        notes=(*found_below.notes(), *_lonely(len(masks) - len({*found} - {None}))),
        follow_links=follow_links,
    )


def _lonely(masks: int) -> Iterator[str]:
    if masks:
        are = "is" if masks == 1 else "are"
        mistake = "since no picture has such a name"
        yield f"{counted(masks, 'file')} in the folder {MASKS} {are} skipped, {mistake}"


def names_in(folder: Path) -> frozenset[str]:
    """The names in a folder, without those that are skipped.

    Raises:
        LossariumError: it is missing, not a folder or not accessible.
    """
    try:
        with os.scandir(folder) as entries:
            names = frozenset(entry.name for entry in entries if not is_skipped(entry.name))
        # Listing and entering a folder are separate permissions.
        os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - pathlib drops the dot
    except FileNotFoundError as error:
        raise LossariumError(
            f"The folder {printable_name(folder)} does not exist; check its path."
        ) from error
    except NotADirectoryError as error:
        raise LossariumError(
            f"{printable_name(folder)} is not a folder; give the folder that holds the pictures."
        ) from error
    except (OSError, ValueError) as error:
        refuse_folder(folder, error)
    return names


def _refuse_whole_facesets(folder: Path, files: Sequence[str]) -> None:
    for file in files:
        parent, _, name = file.rpartition("/")
        if name == MANIFEST_NAME:
            raise LossariumError(
                f"The folder {printable_name(folder)} holds the whole faceset "
                f"{printable_name(folder / parent)}; give that folder itself."
            )


def natural_order(relative: Path) -> tuple[object, ...]:
    """Sort key: numbers in each part of a path compare by value; names break ties."""
    # Every other piece is a number, so numbers are compared with numbers and words with words.
    split_parts = (re.split(r"([0-9]+)", part) for part in relative.parts)
    parts = tuple(tuple(int(s) if i % 2 else s for i, s in enumerate(pieces)) for pieces in split_parts)
    return parts, relative.as_posix()
