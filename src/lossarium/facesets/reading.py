"""Read one picture, any JPEG, PNG or WebP, as a square of 8-bit RGB, or say in one sentence why it cannot be.

`decoding` parses a picture's container, and hands Pillow's decoder for that format only what it needs for the
pixels. So the size is known before memory for pixels is allocated, text and metadata cannot take memory or
make a good picture fail, and Pillow's global settings and warnings, which threads would share, are not used.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets.decoding import jpeg, png, webp
from lossarium.facesets.decoding.colour import to_srgb
from lossarium.facesets.decoding.decoded import Decoded, RefusedError
from lossarium.facesets.decoding.exif import upright
from lossarium.facesets.decoding.other_kinds import other_kind
from lossarium.facesets.listing import Packed
from lossarium.facesets.remarks import Remark
from lossarium.text.wording import printable_name, reason_of

MAX_FILE_BYTES = 512 * 2**20
"""Larger files are refused without being read."""
MID_GREY = 128
"""The background that transparent pictures are composited on."""

# The JPEG decoder's reduction and the box reduction before Lanczos both stop at this multiple of the wanted
# size. Pillow's documentation calls the result of 3 close to indistinguishable from Lanczos alone.
_REDUCING_GAP = 3


@dataclass(frozen=True)
class Picture:
    """One picture as read."""

    pixels: npt.NDArray[np.uint8]
    """(size, size, 3), sRGB."""
    remarks: frozenset[Remark]
    """What the user should know about how it was read."""
    source_size: tuple[int, int]
    """Width and height as stored in the file, in pixels."""


class UnreadablePicture(LossariumError):  # noqa: N818 - what was read, not what went wrong
    """A file that cannot be read as a picture; the message names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        """Continues the sentence after the file's name: "is empty (0 bytes)"."""

    def __str__(self) -> str:
        return f"The picture {printable_name(self.path)} {self.reason}."


def read_picture(path: Path, size: int, packed: Packed | None = None) -> Picture:
    """Read a JPEG, PNG or WebP, recognised by its content and not by its name, as `size` x `size` 8-bit sRGB.

    Any mode is read: 1-bit, grey, palette, RGB, CMYK and YCCK, with 8 or 16 bits (16-bit grey is rounded; for
    16-bit colour the decoder keeps the high byte). Colour profiles are converted to sRGB, or ignored if they
    are unusable. Transparent pictures are composited on mid-grey, and the EXIF orientation is applied. Of an
    animation the first frame is read (of an animated PNG the still picture, which is the first frame unless
    the file excludes it from the animation). The centre square is scaled by Lanczos to a smaller size and
    bicubically to a larger one; a picture that already has the size keeps its pixels bit for bit.

    Args:
        path: The file, or the name of a packed picture.
        size: Side of the result, in pixels.
        packed: Where a packed picture is in its archive.

    Raises:
        UnreadablePicture: the file cannot be opened, is not such a picture, is damaged, or is larger than
            `MAX_PIXELS` or `MAX_FILE_BYTES`.
    """
    with refusals_named(path):
        return picture_from(stored_bytes(path, packed), path.suffix, size)


def picture_from(data: bytes, name_ending: str, size: int) -> Picture:
    """Like `read_picture`, from a file's bytes.

    Args:
        data: The whole file.
        name_ending: The ending of its name, such as ".png", for the message if it holds no picture.
        size: Side of the result, in pixels.

    Raises:
        RefusedError: it is not such a picture, is damaged or too large.
    """
    decoded = decode(data, name_ending, smallest_side=_REDUCING_GAP * size)
    remarks: set[Remark] = set()
    image, converted = to_srgb(decoded.image, decoded.profile)
    if converted:
        remarks.add(Remark.PROFILE)
    if decoded.animated:
        remarks.add(Remark.ANIMATION)
    if decoded.alpha is not None and decoded.alpha.getextrema() != (255, 255):
        remarks.add(Remark.ALPHA)
        image = on_mid_grey(image, decoded.alpha)
    image = upright(image, decoded.orientation)
    if decoded.source_size[0] != decoded.source_size[1]:
        remarks.add(Remark.NOT_SQUARE)
    if min(decoded.source_size) < size:
        remarks.add(Remark.ENLARGED)
    return Picture(_centre_square(image, size), frozenset(remarks), decoded.source_size)


def read_face_mask(path: Path, size: int, *, source_size: int) -> npt.NDArray[np.uint8]:
    """Read the first channel of a faceset's mask PNG, reduced to `size` by area averages.

    The channels of a mask are face, eyes, mouth and foreground. The last one is stored as alpha but does not
    mean transparency, so nothing is composited.

    Args:
        path: PNG in colour of `source_size` x `source_size` pixels.
        size: Side of the result, in pixels.
        source_size: Side that the stored mask must have, in pixels.

    Returns:
        (size, size), 255 where the face is.

    Raises:
        UnreadablePicture: as for `read_picture`, or the mask is of another kind or size.
    """
    with refusals_named(path):
        data = read_bytes(path)
        if not png.is_png(data):
            raise RefusedError("is not the PNG that a mask has to be")
        mask = png.decode(data)
        if mask.image.mode != "RGB":
            raise RefusedError("is grey, but a mask has the channels face, eyes, mouth and foreground")
        if mask.source_size != (source_size, source_size):
            width, height = mask.source_size
            raise RefusedError(
                f"is {width} x {height} pixels, but its frame is {source_size} x {source_size}"
            )
        face = mask.image.getchannel("R")
        return _as_array(face.resize((size, size), Image.Resampling.BOX) if size != source_size else face)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turn refusals inside into `UnreadablePicture` errors that name the file."""
    try:
        yield
    except RefusedError as refusal:
        raise UnreadablePicture(path, refusal.reason) from refusal
    except MemoryError as error:
        raise UnreadablePicture(path, "needs more memory than there is") from error


def stored_bytes(path: Path, packed: Packed | None) -> bytes:
    """A picture's bytes, from a file of its own or from an archive.

    Raises:
        RefusedError: as for `read_bytes`.
    """
    return read_bytes(path) if packed is None else read_bytes(packed.archive, packed.offset, packed.length)


def read_bytes(path: Path, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of a regular file, or of a part of it.

    Raises:
        RefusedError: it cannot be opened, is empty, or more than `MAX_FILE_BYTES` are wanted.
    """
    try:
        status = path.stat()
        # Reading a pipe or a device could block, or never end.
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError("is not a regular file")
        wanted = status.st_size if length is None else length
        if wanted > MAX_FILE_BYTES:
            megabytes = -(-wanted // 2**20)
            raise RefusedError(f"takes {megabytes} MiB; at most {MAX_FILE_BYTES // 2**20} MiB are read")
        with path.open("rb") as file:
            file.seek(offset)
            # At most the size from stat, even if the file grows meanwhile: memory is allocated up front.
            data = file.read(wanted)
    except FileNotFoundError as error:
        raise RefusedError("does not exist") from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"cannot be opened: {reason_of(error)}") from error
    if not data:
        raise RefusedError("is empty (0 bytes)")
    return data


def decode(data: bytes, name_ending: str, smallest_side: int) -> Decoded:
    if png.is_png(data):
        return png.decode(data)
    if jpeg.is_jpeg(data):
        return jpeg.decode(data, smallest_side)
    if webp.is_webp(data):
        return webp.decode(data)
    kind = other_kind(data)
    if kind is not None:
        raise RefusedError(f"is {kind}; only JPEG, PNG and WebP are read")
    if name_ending:
        raise RefusedError(f"holds no picture although its name ends in {printable_name(name_ending)}")
    raise RefusedError("holds no picture")


def on_mid_grey(image: Image.Image, alpha: Image.Image) -> Image.Image:
    ground = Image.new("RGB", image.size, (MID_GREY, MID_GREY, MID_GREY))
    ground.paste(image, mask=alpha)
    return ground


def _centre_square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return _as_array(image)[top : top + size, left : left + size].copy()
    box = (left, top, left + side, top + side)
    if side < size:
        return _as_array(image.resize((size, size), Image.Resampling.BICUBIC, box))
    return _as_array(image.resize((size, size), Image.Resampling.LANCZOS, box, float(_REDUCING_GAP)))


def _as_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.array(image, dtype=np.uint8)
