"""DeepFaceLab's faceset.pak: many aligned JPEGs in one file.

version            8 bytes, little-endian as all numbers here; 1
length             8 bytes; of the configurations
configurations     a pickle: a list with a dict for each picture
offsets            8 bytes each, one more than there are pictures, from the start of the data
data               the pictures, each a whole file

The last offset should be the end of the data; DeepFaceLab writes the length of the whole file there.
The structure is that of samplelib/PackedFaceset.py of DeepFaceLab.
"""

import os
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from lossarium.errors import LossariumError
from lossarium.facesets.budget import Budget
from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.formats.dfl_pickle import unpickled
from lossarium.facesets.listing import PICTURE_ENDINGS, FrameFile, Listing, Packed, names_in, natural_order
from lossarium.text.links import why_outside
from lossarium.text.wording import counted, listed, printable_name, reason_of

PAK_NAME = "faceset.pak"
"""A folder that holds this file is one of DeepFaceLab's packed facesets."""
MAX_CONFIGURATION_BYTES = 256 * 2**20
MAX_PICTURES = 1_000_000

_VERSION = 1


def pak_listing(folder: Path, *, follow_links: bool = False) -> Listing:
    """The pictures packed in a folder's faceset.pak, in natural order of their names.

    Loose pictures beside it are skipped, with a note. The names are only labels: no file is opened by them.

    Args:
        folder: The folder.
        follow_links: Whether the file may be a link that leads out of the folder.

    Raises:
        LossariumError: the file cannot be opened, is damaged, cut off or too large, or tries to run code.
    """
    path = folder / PAK_NAME
    if (reason := why_outside(path, None if follow_links else folder.resolve())) is not None:
        _refuse(path, reason)
    try:
        if not path.is_file():
            _refuse(path, "is not a regular file")
        with path.open("rb") as file:
            names, spans = _contents(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise LossariumError(
            f"{printable_name(path)} cannot be opened: {reason_of(error)}; allow it to be read."
        ) from error
    except RefusedError as refusal:
        _refuse(path, refusal.reason)
    frames = [
        FrameFile(name, path / name, packed=Packed(path, offset, length))
        for name, (offset, length) in zip(names, spans, strict=True)
    ]
    return Listing(
        folder,
        identity=printable_name(folder.resolve().name) or "pictures",
        frames=sorted(frames, key=lambda frame: natural_order(Path(frame.name))),
        notes=tuple(_notes(folder, names)),
        follow_links=follow_links,
    )


def _refuse(path: Path, reason: str) -> NoReturn:
    remedy = "" if ";" in reason else "; pack it again with DeepFaceLab"
    raise LossariumError(f"{printable_name(path)} {reason}{remedy}.")


def _contents(file: BinaryIO, size: int) -> tuple[list[str], list[tuple[int, int]]]:
    """The names of the pictures, and the position and length of each in the file."""
    header = file.read(16)
    if len(header) < 16:
        raise RefusedError("is cut off in its header")
    version, length = struct.unpack("<QQ", header)
    if version != _VERSION:
        raise RefusedError(f"is of version {version}; only version {_VERSION} is read")
    if length > MAX_CONFIGURATION_BYTES:
        raise RefusedError(
            f"claims {length} bytes of configurations; "
            f"at most {MAX_CONFIGURATION_BYTES // 2**20} MiB are read"
        )
    if 16 + length > size:
        raise RefusedError(f"claims {length} bytes of configurations where {size - 16} are left")
    names = _names(unpickled(file.read(length)), length)
    table = file.read(8 * (len(names) + 1))
    if len(table) != 8 * (len(names) + 1):
        raise RefusedError("is cut off in its table of offsets")
    start = 16 + length + len(table)
    offsets = list(struct.unpack(f"<{len(names) + 1}Q", table))
    if offsets[-1] == size:
        offsets[-1] = size - start
    spans: list[tuple[int, int]] = []
    for name, begin, end in zip(names, offsets, offsets[1:], strict=False):
        if not begin <= end <= size - start:
            raise RefusedError(f"is damaged: its picture {name} does not lie inside it")
        spans.append((start + begin, end - begin))
    return names, spans


def _names(configurations: object, length: int) -> list[str]:
    """The name of each picture, preceded by that of the person if there are several.

    Args:
        configurations: What the pickle holds.
        length: Of the pickle, in bytes.
    """
    if not isinstance(configurations, list):
        raise RefusedError("is damaged: its configurations are not a list")
    if not 1 <= len(configurations) <= MAX_PICTURES:
        raise RefusedError(f"holds {len(configurations)} pictures; 1 to {MAX_PICTURES} are read")
    names: list[str] = []
    # A person's name is stored once and repeated with each picture, whose landmarks take far more room.
    room = Budget(length)
    for number, configuration in enumerate(configurations, 1):
        if not isinstance(configuration, dict):
            raise RefusedError(f"is damaged: its picture {number} has no configuration")
        parts = [configuration.get("person_name"), configuration.get("filename")]
        if not isinstance(parts[1], str) or not isinstance(parts[0], str | None):
            raise RefusedError(f"is damaged: its picture {number} has no name")
        room.spend(sum(len(part) for part in parts if part))
        # Only the last part of the name is kept, so that it cannot point to another folder.
        names.append("/".join(_last_part(part) for part in parts if part))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RefusedError(f"is damaged: it holds several pictures named {listed(twice)}")
    return names


def _last_part(name: str) -> str:
    part = printable_name(name.replace("\\", "/").rstrip("/").rpartition("/")[2][:255])
    return "unnamed" if part in ("", ".", "..") else part


def _notes(folder: Path, names: Sequence[str]) -> list[str]:
    notes: list[str] = []
    people = {name.partition("/")[0] for name in names if "/" in name}
    if len(people) > 1:
        notes.append(f"its {PAK_NAME} holds {len(people)} people, who are read as one identity")
    loose = sum(name.lower().endswith(PICTURE_ENDINGS) for name in names_in(folder))
    if loose:
        are = "is" if loose == 1 else "are"
        notes.append(f"{counted(loose, 'picture')} beside {PAK_NAME} {are} skipped")
    return notes
