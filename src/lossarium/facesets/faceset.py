"""A faceset in memory: the aligned frames of one identity."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Faceset:
    """Aligned frames of one identity, all of one size, with what is known about each.

    Frames are held as 8-bit RGB, so that 10,000 frames of 128 px take 490 MB.
    """

    identity: str
    """Name shown to people: the manifest's, or the folder's."""
    frames: npt.NDArray[np.uint8]
    """(N, size, size, 3), RGB."""
    frame_names: tuple[str, ...]
    """N names: paths relative to the faceset's folder, with forward slashes."""
    held_out: npt.NDArray[np.bool_]
    """(N,), True where the frame is kept from training and used for judging."""
    face_masks: npt.NDArray[np.uint8] | None = None
    """(N, size, size), 255 where the face is, where masks are known."""
    states: tuple[str, ...] | None = None
    """N digests of the frames' states; two facesets' frames with equal digests are an exact swap pair."""

    @property
    def size(self) -> int:
        """Side of the square frames, in pixels."""
        return int(self.frames.shape[1])
