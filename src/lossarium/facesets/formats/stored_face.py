"""What other programs store inside a picture about its face: landmarks, and a mask with its place."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image

LANDMARKS = 68
"""Points a face, in iBUG order."""

_MOST_SAMPLES = 8
_LARGEST_COORDINATE = 1e6
_FURTHEST = 1e7


@dataclass(frozen=True)
class StoredMask:
    """A mask as stored, in a pixel grid of its own."""

    pixels: npt.NDArray[np.uint8]
    """(h, w), 255 where the face is."""
    from_picture: npt.NDArray[np.float64]
    """(2, 3) from the picture's pixels to the mask's; pixel centres at halves in both."""


class Unused(Enum):
    """Why the face data in a good picture is not used, or not all of it."""

    NOT_UNDERSTOOD = "it is not text that faceswap writes"
    UNUSABLE_MASK = "its mask is not one that faceswap writes"
    NO_ALIGNMENTS = "it describes no face"
    NO_LANDMARKS = "its landmarks are not 68 points of a face"
    CROPPED = "it was written for a square picture"


@dataclass(frozen=True)
class StoredFace:
    """What is known about the face in a picture; any field may be None."""

    landmarks: npt.NDArray[np.float64] | None = None
    """(68, 2) x, y in the stored picture's pixels; pixel centres at halves."""
    mask: StoredMask | None = None
    unused: Unused | None = None
    """Why something is not known although the picture carries face data."""


def landmarks_in_frame(
    landmarks: npt.NDArray[np.float64], picture_size: tuple[int, int], size: int
) -> npt.NDArray[np.float32]:
    """Landmarks (68, 2) of a picture in its centre square, scaled to `size`.

    Args:
        landmarks: In the picture's pixels, centres at halves.
        picture_size: Width and height of the picture as stored.
        size: Side of the frame.
    """
    left, top, scale = _centre_square(picture_size, size)
    # Clip to a value beyond any landmark that float32 can hold.
    places = np.clip((landmarks - (left, top)) / scale, -_FURTHEST, _FURTHEST)
    return np.asarray(places, np.float32)


def mask_in_frame(mask: StoredMask, picture_size: tuple[int, int], size: int) -> npt.NDArray[np.uint8]:
    """A stored mask warped into the centre square of its picture, scaled to `size`; 0 where it is unknown.

    Returns:
        (size, size), 255 where the face is.
    """
    left, top, scale = _centre_square(picture_size, size)
    linear = mask.from_picture[:, :2] * scale
    shift = mask.from_picture[:, 2] + mask.from_picture[:, :2] @ (left, top)
    # As many samples per side as a frame's pixel spans mask pixels, so that no mask pixel is skipped.
    spans = np.sqrt(abs(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0]))
    samples = int(np.clip(np.ceil(spans), 1, _MOST_SAMPLES))
    (a, b), (c, d) = (linear / samples).tolist()
    x, y = shift.tolist()
    warped = Image.fromarray(mask.pixels).transform(
        (samples * size, samples * size),
        Image.Transform.AFFINE,
        (a, b, x, c, d, y),
        Image.Resampling.BILINEAR,
        fillcolor=0,
    )
    return np.array(warped.reduce(samples) if samples > 1 else warped, np.uint8)


def _centre_square(picture_size: tuple[int, int], size: int) -> tuple[int, int, float]:
    """Left and top of the square that a frame is made of, and its pixels a pixel of the frame."""
    side = min(picture_size)
    width, height = picture_size
    return (width - side) // 2, (height - side) // 2, side / size


def is_coordinate(value: object) -> bool:
    """Whether an untrusted value is a number in the range of picture coordinates."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # False for NaN, too.
    return -_LARGEST_COORDINATE <= value <= _LARGEST_COORDINATE
