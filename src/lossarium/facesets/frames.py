"""All pictures of a listing, read side by side into one array."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.links import why_outside
from lossarium.facesets.listing import FrameFile, Listing
from lossarium.facesets.manifest import MANIFEST_NAME
from lossarium.facesets.reading import Picture, Remark, UnreadablePicture, read_face_mask, read_picture
from lossarium.facesets.wording import counted

# Each decodes one picture; with transparency and the most pixels that are read that takes over a gigabyte.
_MOST_THREADS = 8

Progress = Callable[[int, int], None]
"""Called with how many pictures have been read and how many there are."""


@dataclass(frozen=True)
class Readings:
    """The outcome of reading a listing; the arrays hold the readable frames alone, in order."""

    frames: npt.NDArray[np.uint8]
    """(N, size, size, 3), sRGB."""
    face_masks: npt.NDArray[np.uint8] | None
    """(N, size, size), where the listing has masks."""
    kept: Sequence[int]
    """N indices into the listing's frames."""
    remarks: Mapping[Remark, int]
    """How many pictures each applies to."""
    failures: Sequence[UnreadablePicture]


def read_frames(listing: Listing, size: int, progress: Progress | None = None) -> Readings:
    """Read every frame, and its mask where it has one, at `size` x `size`; what fails is listed, not raised.

    Raises:
        LossariumError: the frames need more memory than there is.
    """
    count = len(listing.frames)
    has_masks = any(frame.mask is not None for frame in listing.frames)
    try:
        frames = np.empty((count, size, size, 3), np.uint8)
        face_masks = np.empty((count, size, size), np.uint8) if has_masks else None
    except MemoryError as error:
        raise LossariumError(
            f"{counted(count, 'picture')} of {size} x {size} pixels need more memory than there is; "
            "choose a smaller size or fewer pictures."
        ) from error
    real_folder = listing.folder.resolve()
    kept: list[int] = []
    failures: list[UnreadablePicture] = []
    remarks = dict.fromkeys(Remark, 0)

    def read(frame: FrameFile) -> tuple[Picture, npt.NDArray[np.uint8] | None] | UnreadablePicture:
        try:
            return _read_frame(frame, real_folder, size, listing.source_size)
        except UnreadablePicture as failure:
            # Kept as a value; its traceback would keep the whole file in memory.
            return UnreadablePicture(failure.path, failure.reason)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        try:
            for index, outcome in enumerate(pool.map(read, listing.frames)):
                if isinstance(outcome, UnreadablePicture):
                    failures.append(outcome)
                else:
                    picture, mask = outcome
                    frames[len(kept)] = picture.pixels
                    if face_masks is not None and mask is not None:
                        face_masks[len(kept)] = mask
                    for remark in picture.remarks:
                        remarks[remark] += 1
                    kept.append(index)
                if progress is not None:
                    progress(index + 1, count)
        except BaseException:
            # Ctrl-C must not wait for thousands of pictures.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    face_masks = None if face_masks is None else face_masks[: len(kept)]
    return Readings(frames[: len(kept)], face_masks, kept, remarks, failures)


def _read_frame(
    frame: FrameFile, real_folder: Path, size: int, source_size: int | None
) -> tuple[Picture, npt.NDArray[np.uint8] | None]:
    for path in (frame.path, frame.mask):
        if path is not None and (reason := why_outside(path, real_folder)) is not None:
            raise UnreadablePicture(path, reason)
    picture = read_picture(frame.path, size)
    width, height = picture.source_size
    if source_size is not None and (width, height) != (source_size, source_size):
        raise UnreadablePicture(
            frame.path,
            f"is {width} x {height} pixels, but {MANIFEST_NAME} says {source_size} x {source_size}",
        )
    mask = None if frame.mask is None else read_face_mask(frame.mask, size, source_size=width)
    return picture, mask
