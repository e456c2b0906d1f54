"""A cache of decoded frames on disk, for facesets larger than memory and for a faster second start.

For each listing and size it has these files; DIGEST is a hash of both:

DIGEST-frames.npy  (N, size, size, 3), 8-bit sRGB
DIGEST-masks.npy   (N, size, size), where every frame has a mask
DIGEST-points.npy  (N, 68, 2), float32, where every frame has landmarks
DIGEST.json        other data found while reading, and checksums of all files; written
                   last: if it exists, the others are complete

Every file is checked before it is used, so no trial trains on a picture with a flipped bit: damaged caches
are rebuilt, with a note.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from lossarium import __version__
from lossarium.errors import LossariumError
from lossarium.facesets.array_file import ArrayFile
from lossarium.facesets.cache_files import (
    FORMAT,
    MAGIC,
    DamagedCacheError,
    cache_files,
    opened_cache,
    remove_older,
    seal,
    sources_of,
)
from lossarium.facesets.checksums import checksums
from lossarium.facesets.frames import Progress, Readings, read_frames
from lossarium.facesets.listing import Listing
from lossarium.facesets.remarks import Remark
from lossarium.facesets.split import fair_rows, frame_digests, split_of
from lossarium.files import write_whole
from lossarium.text.wording import printable_name, reason_of

if TYPE_CHECKING:
    from lossarium.facesets.reading import UnreadablePicture

_FORMAT = f"{MAGIC}{FORMAT}"
# The number of decoded frames in memory at once while the cache is built.
_PIECE_BYTES = 64 * 2**20


def cached_frames(listing: Listing, size: int, folder: Path, progress: Progress | None = None) -> Readings:
    """The result of `without_leaks` and `read_frames`, as read-only memory-mapped files in `folder`.

    They are built if there are none for exactly these files (by names, sizes and modification times) at this
    size, or if their checksums show that they are damaged, with a note. This takes little memory and 3 bytes
    of disk per pixel; caches of older formats in `folder` are removed first.

    Args:
        listing: The frames.
        size: Side of the frames, in pixels.
        folder: The folder of the cache; created if it does not exist. Its files may be removed at any time.
        progress: Called after each picture, unless the cache is complete already.

    Raises:
        LossariumError: `folder` cannot be written or has no room, or a picture changed while it was read.
    """
    digest = listing_digest(listing, size)
    damage: DamagedCacheError | None = None
    try:
        readings = opened_cache(listing, size, folder, digest, verify=True)
    except DamagedCacheError as error:
        damage, readings = error, None
    if readings is not None:
        return readings
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_older(folder)
        _check_room(folder, decoded_bytes(listing, size))
        _build(listing, size, folder, digest, progress)
    except OSError as error:
        if damage is not None:
            raise LossariumError(
                f"{damage}, and cannot be rebuilt: {reason_of(error)}; remove it, or give another folder "
                "for the cache."
            ) from error
        _refuse_folder(folder, reason_of(error))
    if listing_digest(listing, size) != digest:
        raise LossariumError(
            f"Pictures in {printable_name(listing.folder)} changed while they were read; start again."
        )
    try:
        readings = opened_cache(listing, size, folder, digest, verify=False)
    except DamagedCacheError as error:
        raise LossariumError(
            f"{error} as soon as it was written; give another folder for the cache."
        ) from error
    if readings is None:
        _refuse_folder(folder, "what was written there is not there any more")
    return readings if damage is None else replace(readings, notes=(f"{damage}, so it is rebuilt",))


def is_cached(listing: Listing, size: int, folder: Path) -> bool:
    """Whether `cached_frames` will read no picture of a listing, unless the cache's contents are damaged."""
    try:
        return opened_cache(listing, size, folder, listing_digest(listing, size), verify=False) is not None
    except DamagedCacheError:
        return False


def decoded_bytes(listing: Listing, size: int) -> int:
    """The number of bytes that a listing's frames and its mask files take once they are read."""
    frames = listing.frames
    return (3 * len(frames) + sum(frame.mask is not None for frame in frames)) * size**2


def listing_digest(listing: Listing, size: int) -> str:
    """SHA-256, in hex, of everything that identifies a listing's frames except the files' contents: the
    folder, the size, the listing's landmarks and own split, and each file's name, length and modification
    time. Copies of held-out frames are left out, so that the cache depends on the split.
    """
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(json.dumps(values).encode() + b"\n")

    def add_file(path: Path) -> None:
        try:
            status = path.stat()
        except OSError:
            add(path.as_posix(), "cannot be read")
        else:
            add(path.as_posix(), status.st_size, status.st_mtime_ns)

    add(_FORMAT, __version__, listing.folder.resolve().as_posix(), size, listing.source_size)
    add(None if listing.held_out is None else sorted(listing.held_out))
    for frame in listing.frames:
        packed = frame.packed
        add(
            packed and [packed.offset, packed.length],
            None if frame.landmarks is None else hashlib.sha256(frame.landmarks.tobytes()).hexdigest(),
        )
        add_file(packed.archive if packed else frame.path)
        if frame.mask is not None:
            add_file(frame.mask)
    return digest.hexdigest()


def _build(listing: Listing, size: int, folder: Path, digest: str, progress: Progress | None) -> None:
    files = cache_files(folder, digest)
    count = len(listing.frames)
    found = _Found()
    with (
        closing(ArrayFile(files.frames, (count, size, size, 3))) as frames,
        closing(ArrayFile(files.masks, (count, size, size))) as masks,
    ):
        for start, readings in _pieces(listing, size, progress):
            found.add(start, readings)
            frames.add(readings.frames)
            if readings.face_masks is not None and not found.lack_mask:
                masks.add(readings.face_masks)
        fair = found.leave_out_copies(listing)
        frames.keep(fair)
        frames.finish()
        if found.all_masks:
            masks.keep(fair)
            masks.finish()
    if found.all_landmarks:
        write_whole(files.landmarks, found.landmarks_file())
    arrays = [files.frames]
    arrays += [files.masks] if found.all_masks else []
    arrays += [files.landmarks] if found.all_landmarks else []
    about = {
        "format": _FORMAT,
        "digest": digest,
        "checksums": {path.name: checksums(path) for path in arrays},
        **found.described(listing),
    }
    write_whole(files.about, json.dumps({**about, "seal": seal(about)}).encode())


class _Found:
    """Data found while reading the pieces of a listing, apart from pixels."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.copies: list[int] = []
        self.digests: list[bytes] = []
        self.failures: list[UnreadablePicture] = []
        self.remarks = dict.fromkeys(Remark, 0)
        self.landmarks: list[npt.NDArray[np.float32]] = []
        self.lack_mask = 0
        self.lack_landmarks = 0

    def add(self, start: int, readings: Readings) -> None:
        """Add the data of a piece; `start` is the index of its first frame."""
        self.kept.extend(start + index for index in readings.kept)
        self.digests.extend(frame_digests(readings.frames))
        self.failures.extend(readings.failures)
        for remark, number in readings.remarks.items():
            self.remarks[remark] += number
        # A piece in which no frame has any does not count them as missing.
        if readings.face_masks is None:
            self.lack_mask += readings.without_mask or len(readings.kept)
        if readings.landmarks is None:
            self.lack_landmarks += readings.without_landmarks or len(readings.kept)
        else:
            self.landmarks.append(readings.landmarks)

    def leave_out_copies(self, listing: Listing) -> Sequence[int]:
        """After all pieces were added: leave out leaking copies, and return the rows to keep."""
        fair = fair_rows(self.digests, split_of(listing, self.kept))
        everything, self.kept = self.kept, [self.kept[row] for row in fair]
        self.copies = sorted({*everything} - {*self.kept})
        if self.all_landmarks:
            self.landmarks = [np.concatenate(self.landmarks)[fair]]
        return fair

    @property
    def all_masks(self) -> bool:
        return bool(self.kept) and not self.lack_mask

    @property
    def all_landmarks(self) -> bool:
        return bool(self.kept) and not self.lack_landmarks

    def landmarks_file(self) -> bytes:
        """The content of the landmarks' file, in numpy's format."""
        file = io.BytesIO()
        np.save(file, np.concatenate(self.landmarks), allow_pickle=False)
        return file.getvalue()

    def described(self, listing: Listing) -> dict[str, object]:
        """The content of DIGEST.json, without its seal."""
        sources = {
            path: {"frame": place, "file": file}
            for place, frame in enumerate(listing.frames)
            for file, path in enumerate(sources_of(frame))
        }
        # What no frame has is not counted as missing.
        readable = max(len(self.kept) + len(self.copies), 1)
        return {
            "kept": self.kept,
            "copies": self.copies,
            "remarks": {remark.name: number for remark, number in self.remarks.items()},
            "failures": [{**sources[failure.path], "reason": failure.reason} for failure in self.failures],
            "masks": self.all_masks,
            "landmarks": self.all_landmarks,
            "without_mask": self.lack_mask % readable,
            "without_landmarks": self.lack_landmarks % readable,
        }


def _pieces(listing: Listing, size: int, progress: Progress | None) -> Iterator[tuple[int, Readings]]:
    """Read the listing piece by piece; yields the index of each piece's first frame, and the piece."""
    count = len(listing.frames)
    together = max(_PIECE_BYTES // (3 * size**2), 1)
    for start in range(0, count, together):
        piece = replace(listing, frames=listing.frames[start : start + together])
        yield start, read_frames(piece, size, _shifted(progress, start, count))


def _shifted(progress: Progress | None, start: int, count: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, _: progress(start + done, count)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        _refuse_folder(folder, f"it needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")


def _refuse_folder(folder: Path, reason: str) -> NoReturn:
    raise LossariumError(
        f"The cache of frames in {printable_name(folder)} cannot be written: {reason}; "
        "make room, or give another folder for it."
    )
