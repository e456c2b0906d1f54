"""Regions of frames: where the face, its eyes and its mouth are in each frame of a faceset."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.regions.landmark_masks import face_mask

Masks = npt.NDArray[np.uint8]

STORED = "stored"
"""The kind of mask that comes with the pictures."""


class Region:
    """A mask for each frame, made when it is first needed.

    With `keep`, masks that were made stay in memory; otherwise they are made every time.
    """

    def __init__(self, mask_of: Callable[[int], Masks], frames: int, size: int, *, keep: bool) -> None:
        """Prepare the region; no mask is made yet.

        Args:
            mask_of: Makes the mask of a frame, (size, size), 255 inside.
            frames: How many frames there are.
            size: Side of the frames, in pixels.
            keep: Whether masks that were made stay in memory.
        """
        self._mask_of = mask_of
        self._size = size
        self._made = np.zeros(frames, np.bool_) if keep else None
        # The operating system allocates memory for zeros only when they are written, mask by mask.
        self._masks = np.zeros((frames, size, size), np.uint8) if keep else None

    def masks(self, frames: npt.NDArray[np.intp]) -> Masks:
        """The masks of some frames, (frames, size, size), 255 inside."""
        if self._masks is None or self._made is None:
            return np.stack([self._mask_of(frame) for frame in frames.tolist()])
        for frame in frames[~self._made[frames]].tolist():
            self._masks[frame] = self._mask_of(frame)
            self._made[frame] = True
        return self._masks[frames]


def region(faceset: Faceset, kind: str, *, dilation: float = 0.0, blur: float = 0.0) -> Region:
    """A region of a faceset's frames. Masks are kept in memory if the frames are.

    Args:
        faceset: The faceset.
        kind: `STORED`, or one of `landmark_masks.MASK_KINDS`.
        dilation: By how many pixels masks made from landmarks grow.
        blur: Standard deviation of the Gaussian blur of masks made from landmarks, in pixels.

    Raises:
        LossariumError: the faceset has no masks, or no landmarks to make them from.
    """
    count, size = len(faceset.frames), faceset.size
    if kind == STORED:
        stored = faceset.face_masks
        if stored is None:
            raise LossariumError(
                f"Not every picture of {faceset.identity} has a mask; use one made from landmarks, such "
                "as extended, or put a folder of masks beside the pictures."
            )
        return Region(lambda frame: stored[frame], count, size, keep=False)
    landmarks = faceset.landmarks
    if landmarks is None:
        raise LossariumError(
            f"The mask {kind} is made from landmarks, which not every picture of {faceset.identity} "
            "has; extract faces with faceswap or DeepFaceLab, which store landmarks in their pictures."
        )
    made = partial(face_mask, kind, size=size, dilation=dilation, blur=blur)
    in_memory = not isinstance(faceset.frames, np.memmap)
    return Region(lambda frame: made(landmarks[frame]), count, size, keep=in_memory)
