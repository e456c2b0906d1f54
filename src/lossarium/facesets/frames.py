"""Read all pictures of a listing in parallel into one array."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.decoding import jpeg, png
from lossarium.facesets.formats.dfl_format import dfl_face
from lossarium.facesets.formats.faceswap_format import faceswap_face
from lossarium.facesets.formats.manifest import MANIFEST_NAME
from lossarium.facesets.formats.stored_face import StoredFace, landmarks_in_frame, mask_in_frame
from lossarium.facesets.listing import FrameFile, Listing
from lossarium.facesets.reading import (
    Picture,
    UnreadablePicture,
    picture_from,
    read_face_mask,
    refusals_named,
    stored_bytes,
)
from lossarium.facesets.remarks import Remark
from lossarium.facesets.whole_pictures import read_grey_face_mask
from lossarium.text.links import why_outside
from lossarium.text.wording import counted

# Each thread decodes one picture, which takes over 1 GB for the largest pictures with transparency.
_MOST_THREADS = 8

_Number = TypeVar("_Number", np.uint8, np.float32)

Progress = Callable[[int, int], None]
"""Called with how many pictures have been read and how many there are."""


@dataclass(frozen=True)
class Readings:
    """The outcome of reading a listing; the arrays hold only the readable frames, in order."""

    frames: npt.NDArray[np.uint8]
    """(N, size, size, 3), sRGB."""
    face_masks: npt.NDArray[np.uint8] | None
    """(N, size, size), if the listing or every picture has a mask."""
    kept: Sequence[int]
    """N indices into the listing's frames."""
    remarks: Mapping[Remark, int]
    """How many pictures each applies to."""
    failures: Sequence[UnreadablePicture]
    landmarks: npt.NDArray[np.float32] | None = None
    """(N, 68, 2) in frame pixels, pixel centres at halves, if the listing or every picture has them."""
    without_mask: int = 0
    """How many pictures lack a mask, if others have one."""
    without_landmarks: int = 0
    """How many pictures lack landmarks, if others have them."""
    copies: Sequence[int] = ()
    """Indices of readable frames that were left out, see `lossarium.facesets.split.without_leaks`."""
    notes: tuple[str, ...] = ()
    """What the user should know about where the arrays come from."""


@dataclass(frozen=True)
class _ReadFrame:
    """One frame, with the mask and the landmarks of its face if they are known."""

    picture: Picture
    mask: npt.NDArray[np.uint8] | None
    landmarks: npt.NDArray[np.float32] | None


def read_frames(listing: Listing, size: int, progress: Progress | None = None) -> Readings:
    """Read every frame at `size` x `size`, with its mask and landmarks if they are known.

    Pictures that cannot be read are listed in `failures`.

    Raises:
        LossariumError: the frames need more memory than there is.
    """
    count = len(listing.frames)
    try:
        frames = np.empty((count, size, size, 3), np.uint8)
    except MemoryError as error:
        raise LossariumError(
            f"{counted(count, 'picture')} of {size} x {size} pixels need more memory than there is; "
            "choose a smaller size or fewer pictures."
        ) from error
    boundary = listing.boundary()
    kept: list[int] = []
    failures: list[UnreadablePicture] = []
    remarks = dict.fromkeys(Remark, 0)
    masks: list[npt.NDArray[np.uint8] | None] = []
    landmarks: list[npt.NDArray[np.float32] | None] = []

    def read(frame: FrameFile) -> _ReadFrame | UnreadablePicture:
        try:
            return _read_frame(frame, boundary, size, listing.source_size)
        except UnreadablePicture as failure:
            # A new error without the traceback, which would keep the whole file in memory.
            return UnreadablePicture(failure.path, failure.reason)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        try:
            for index, outcome in enumerate(pool.map(read, listing.frames)):
                if isinstance(outcome, UnreadablePicture):
                    failures.append(outcome)
                else:
                    frames[len(kept)] = outcome.picture.pixels
                    masks.append(outcome.mask)
                    landmarks.append(outcome.landmarks)
                    for remark in outcome.picture.remarks:
                        remarks[remark] += 1
                    kept.append(index)
                if progress is not None:
                    progress(index + 1, count)
        except BaseException:
            # On Ctrl-C do not wait for thousands of pictures.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    known_masks, without_mask = _all_or_none(masks)
    known_landmarks, without_landmarks = _all_or_none(landmarks)
    return Readings(
        frames=frames[: len(kept)],
        face_masks=known_masks,
        kept=kept,
        remarks=remarks,
        failures=failures,
        landmarks=known_landmarks,
        without_mask=without_mask,
        without_landmarks=without_landmarks,
    )


def _read_frame(frame: FrameFile, boundary: Path | None, size: int, source_size: int | None) -> _ReadFrame:
    for path in (frame.packed.archive if frame.packed else frame.path, frame.mask):
        if path is not None and (reason := why_outside(path, boundary)) is not None:
            raise UnreadablePicture(path, reason)
    with refusals_named(frame.path):
        data = stored_bytes(frame.path, frame.packed)
        picture = picture_from(data, frame.path.suffix, size)
        # A faceset with a manifest describes its frames itself; metadata in the pictures is not read.
        face = None if source_size is not None else _stored_face(data, picture.source_size)
    width, height = picture.source_size
    if source_size is not None and (width, height) != (source_size, source_size):
        raise UnreadablePicture(
            frame.path,
            f"is {width} x {height} pixels, but {MANIFEST_NAME} says {source_size} x {source_size}",
        )
    points = frame.landmarks if face is None else face.landmarks
    if face is not None and face.unused is not None:
        picture = replace(picture, remarks=picture.remarks | {Remark[face.unused.name]})
    mask = None
    if frame.mask is not None and source_size is not None:
        mask = read_face_mask(frame.mask, size, source_size=width)
    elif frame.mask is not None:
        mask = read_grey_face_mask(frame.mask, size, picture_size=picture.source_size)
    elif face is not None and face.mask is not None:
        mask = mask_in_frame(face.mask, picture.source_size, size)
    landmarks = None if points is None else landmarks_in_frame(points, picture.source_size, size)
    return _ReadFrame(picture, mask, landmarks)


def _stored_face(data: bytes, picture_size: tuple[int, int]) -> StoredFace | None:
    """The face data that faceswap or DeepFaceLab stored in a picture."""
    if png.is_png(data):
        return faceswap_face(data, picture_size)
    return dfl_face(data, picture_size) if jpeg.is_jpeg(data) else None


def _all_or_none(arrays: list[npt.NDArray[_Number] | None]) -> tuple[npt.NDArray[_Number] | None, int]:
    """All arrays joined into one; None if any is missing, with how many are missing (0 if all are)."""
    known: list[npt.NDArray[_Number]] = [array for array in arrays if array is not None]
    if not known or len(known) < len(arrays):
        return None, len(arrays) - len(known) if known else 0
    joined = np.empty((len(known), *known[0].shape), known[0].dtype)
    arrays.clear()
    for place in reversed(range(len(known))):
        # Each array is freed as soon as it is copied, so that masks are never in memory twice.
        joined[place] = known.pop()
    return joined, 0
