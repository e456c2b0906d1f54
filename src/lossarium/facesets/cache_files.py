"""The files of a cache of decoded frames: their names, and checks for damage."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.array_file import mapped
from lossarium.facesets.checksums import first_difference
from lossarium.facesets.formats.stored_face import LANDMARKS
from lossarium.facesets.formats.tables import json_table
from lossarium.facesets.frames import Readings
from lossarium.facesets.listing import FrameFile, Listing
from lossarium.facesets.reading import UnreadablePicture
from lossarium.facesets.remarks import Remark
from lossarium.text.wording import printable_name, reason_of

FORMAT = 5
"""The version of the caches' format, raised with every change of their content."""
MAGIC = "lossarium cache "
"""Followed by the version, the first value of DIGEST.json."""

_ARRAYS = ("frames", "masks", "points")
_NAME = re.compile(r"([0-9a-f]{32})\.json")
_BEGINNING = re.compile(rb'\{"format": "' + MAGIC.encode() + rb'([0-9]{1,6})", "digest": "([0-9a-f]{64})"')
_NUMPY = b"\x93NUMPY"
_LONGEST_BEGINNING = 160

_Number = TypeVar("_Number", np.uint8, np.float32)


@dataclass(frozen=True)
class CacheFiles:
    """The paths of a cache's files."""

    frames: Path
    masks: Path
    landmarks: Path
    about: Path


def cache_files(folder: Path, digest: str) -> CacheFiles:
    """The paths of the cache of the listing and size with this digest."""
    # 32 digits suffice to tell listings apart, and file names stay short enough for every file system.
    name = digest[:32]
    frames, masks, landmarks = (folder / f"{name}-{array}.npy" for array in _ARRAYS)
    return CacheFiles(frames, masks, landmarks, folder / f"{name}.json")


def remove_older(folder: Path) -> None:
    """Remove caches of older formats from a folder; nothing reads them any more.

    Only files that are certain to be such caches, by name and by the start of their content, are removed: not
    links, users' files, caches of newer formats, or arrays without a description.
    """
    for about in _older(folder):
        files = cache_files(folder, about.stem)
        # The description is removed last: after an interruption it still identifies the remaining files.
        for array in (files.frames, files.masks, files.landmarks):
            if _beginning(array).startswith(_NUMPY):
                with suppress(OSError):
                    array.unlink()
        if not any(array.exists() for array in (files.frames, files.masks, files.landmarks)):
            with suppress(OSError):
                about.unlink()


def _older(folder: Path) -> Iterator[Path]:
    """The descriptions of caches of older formats."""
    for path in sorted(folder.glob("*.json")):
        name, beginning = _NAME.fullmatch(path.name), _BEGINNING.match(_beginning(path))
        if name is None or beginning is None:
            continue
        is_its_own = beginning[2].decode().startswith(name[1])
        if is_its_own and int(beginning[1]) < FORMAT:
            yield path


def _beginning(path: Path) -> bytes:
    """The first bytes of a regular file; no bytes for anything else."""
    try:
        if path.is_symlink() or not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_LONGEST_BEGINNING)
    except OSError:
        return b""


class DamagedCacheError(Exception):
    """A file of a cache is damaged; the message has no full stop, so that callers can continue the
    sentence."""

    def __init__(self, path: Path, complaint: str) -> None:
        super().__init__(f"The cache of frames {printable_name(path)} is damaged ({complaint})")


def opened_cache(listing: Listing, size: int, folder: Path, digest: str, *, verify: bool) -> Readings | None:
    """Open the cache; None if there is none.

    Args:
        listing: The frames.
        size: Side of the frames.
        folder: The folder of the cache.
        digest: Of the listing and the size.
        verify: Whether to read all contents and compare them with their checksums.

    Raises:
        DamagedCacheError: a file is damaged.
    """
    files = cache_files(folder, digest)
    if not all(path.exists() for path in (files.about, files.frames)):
        return None
    about = _about(files.about)
    if about.get("digest") != digest:
        return None
    try:
        kept, copies = (_indices(about[key], len(listing.frames)) for key in ("kept", "copies"))
        shape = (len(kept), size, size)
        has_masks, has_landmarks = about["masks"] is True, about["landmarks"] is True
        checked = about["checksums"]
        return Readings(
            frames=_mapped(files.frames, np.uint8, (*shape, 3), checked if verify else None),
            face_masks=_mapped(files.masks, np.uint8, shape, checked if verify else None)
            if has_masks
            else None,
            kept=kept,
            remarks={remark: _count(about["remarks"][remark.name]) for remark in Remark},
            failures=[_failure(listing, entry) for entry in about["failures"]],
            landmarks=_mapped(
                files.landmarks, np.float32, (len(kept), LANDMARKS, 2), checked if verify else None
            )
            if has_landmarks
            else None,
            without_mask=_count(about["without_mask"]),
            without_landmarks=_count(about["without_landmarks"]),
            copies=copies,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedCacheError(files.about, f"it says {reason_of(error)}") from error


def _about(path: Path) -> Mapping[str, Any]:
    """Read and check a cache's description.

    Raises:
        DamagedCacheError: it is damaged.
    """
    try:
        about = json_table(path)
    except LossariumError as error:
        raise DamagedCacheError(path, "it is not JSON") from error
    if about.pop("seal", None) != seal(about):
        raise DamagedCacheError(path, "its checksum is wrong")
    return about


def seal(about: Mapping[str, object]) -> str:
    """SHA-256, in hex, of the content of DIGEST.json without the seal itself."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _mapped(
    path: Path, dtype: type[_Number], shape: tuple[int, ...], expected: Mapping[str, Sequence[int]] | None
) -> npt.NDArray[_Number]:
    """Map an array of the cache; compare its contents with checksums if given.

    Raises:
        DamagedCacheError: it is missing or damaged.
    """
    try:
        if expected is not None:
            place = first_difference(path, expected[path.name])
            if place is not None:
                raise DamagedCacheError(path, f"its contents changed after byte {place:,}")
        return mapped(path, dtype, shape)
    except OSError as error:
        raise DamagedCacheError(path, reason_of(error)) from error
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedCacheError(path, f"it is {reason_of(error)}") from error


def _indices(value: Any, count: int) -> list[int]:
    indices = [_count(index) for index in value]
    if any(index >= count for index in indices) or sorted(set(indices)) != indices:
        raise ValueError("not indices of frames")
    return indices


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _failure(listing: Listing, entry: Any) -> UnreadablePicture:
    path = sources_of(listing.frames[_count(entry["frame"])])[_count(entry["file"])]
    if path is None:
        raise ValueError("a file that is not there")
    return UnreadablePicture(path, str(entry["reason"]))


def sources_of(frame: FrameFile) -> tuple[Path | None, ...]:
    """All files that an error on a frame may name."""
    return frame.path, frame.mask, frame.packed.archive if frame.packed else None
