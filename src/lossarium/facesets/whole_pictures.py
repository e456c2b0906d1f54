"""Read whole pictures, neither cropped nor scaled, and grey masks that say which pixels count."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lossarium.facesets.decoding.colour import to_srgb
from lossarium.facesets.decoding.decoded import MAX_PIXELS, Decoded, RefusedError
from lossarium.facesets.decoding.exif import upright
from lossarium.facesets.listing import Packed
from lossarium.facesets.reading import (
    UnreadablePicture,
    decode,
    on_mid_grey,
    refusals_named,
    stored_bytes,
)
from lossarium.facesets.remarks import Remark

# No readable picture has a longer side, so no decoder reduces it.
_LONGEST_SIDE = MAX_PIXELS


@dataclass(frozen=True)
class WholePicture:
    """One picture as read."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3), sRGB."""
    remarks: frozenset[Remark]
    """Remarks on how it was read."""


def read_whole_picture(path: Path, packed: Packed | None = None) -> WholePicture:
    """Read a JPEG, PNG or WebP at its stored size as 8-bit sRGB.

    Like `lossarium.facesets.reading.read_picture`, without the crop to the centre square: any mode and depth,
    colour profiles converted, alpha composited on mid-grey, EXIF orientation applied, the first frame of an
    animation.

    Args:
        path: The file, or the name of a packed picture.
        packed: Where a packed picture is in its archive.

    Raises:
        UnreadablePicture: the file cannot be opened, is not such a picture, is damaged or is too large.
    """
    with _decoded(path, packed) as decoded:
        remarks: set[Remark] = set()
        image, converted = to_srgb(decoded.image, decoded.profile)
        if converted:
            remarks.add(Remark.PROFILE)
        if decoded.animated:
            remarks.add(Remark.ANIMATION)
        if (alpha := _transparency(decoded)) is not None:
            remarks.add(Remark.ALPHA)
            image = on_mid_grey(image, alpha)
        return WholePicture(np.array(upright(image, decoded.orientation), np.uint8), frozenset(remarks))


def read_grey_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Read a grey JPEG, PNG or WebP, (H, W), white where pixels count; colour profiles are ignored.

    Raises:
        UnreadablePicture: as for `read_whole_picture`, or the picture is in colour or transparent.
    """
    with _decoded(path) as decoded:
        if _transparency(decoded) is not None:
            raise RefusedError("has transparency, but a mask is a grey picture, white where pixels count")
        channels = np.array(upright(decoded.image.convert("RGB"), decoded.orientation), np.uint8)
        grey: npt.NDArray[np.uint8] = channels[..., 0]
        # Lossy compression may make the channels of a grey picture differ by a level or two.
        if np.abs(channels.astype(np.int16) - grey[..., None]).max() > 2:
            raise RefusedError("is in colour, but a mask is a grey picture, white where pixels count")
        return grey.copy()


def read_grey_face_mask(path: Path, size: int, *, picture_size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Read a grey picture that is the mask of another: its centre square, as for the picture.

    Args:
        path: The mask.
        size: Side of the result; masks are scaled down by area averaging.
        picture_size: Width and height of the picture as stored; the mask has the same.

    Returns:
        (size, size), 255 where the face is.

    Raises:
        UnreadablePicture: as for `read_grey_mask`, or the mask has another size or holds only zeros and ones.
    """
    mask = read_grey_mask(path)
    # EXIF may have rotated either of them.
    if sorted(mask.shape) != sorted(picture_size):
        height, width = mask.shape
        raise UnreadablePicture(
            path,
            f"is a mask of {width} x {height} pixels, but its picture has "
            f"{picture_size[0]} x {picture_size[1]}",
        )
    if mask.max() == 1:
        raise UnreadablePicture(path, "is a mask of zeros and ones, but the face has to be white (255)")
    side = min(mask.shape)
    top, left = ((length - side) // 2 for length in mask.shape)
    square = mask[top : top + side, left : left + side]
    if side == size:
        return square.copy()
    filter_ = Image.Resampling.BOX if size < side else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(square).resize((size, size), filter_), np.uint8)


@contextmanager
def _decoded(path: Path, packed: Packed | None = None) -> Iterator[Decoded]:
    with refusals_named(path):
        yield decode(stored_bytes(path, packed), path.suffix, smallest_side=_LONGEST_SIDE)


def _transparency(decoded: Decoded) -> Image.Image | None:
    """The alpha channel; None if it is opaque everywhere."""
    alpha = decoded.alpha
    return None if alpha is None or alpha.getextrema() == (255, 255) else alpha
