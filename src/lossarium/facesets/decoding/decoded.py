"""What all formats share: decoded pictures, refusals, the limit on pixels, calls of Pillow's decoders."""

import io
from dataclasses import dataclass

from PIL import Image, ImageFile

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused by their header, before anything is decoded."""
CUT_OFF = "ends early: its picture data is cut off"
"""The reason for refusing a file whose end is missing."""


class RefusedError(Exception):
    """Why a file is not read; callers that know its path turn it into an `UnreadablePicture`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Continues the sentence after the file's name: "is empty (0 bytes)"."""


@dataclass(frozen=True)
class Decoded:
    """A picture's pixels as stored, and what its container says about them."""

    image: Image.Image
    """Mode L, RGB or CMYK."""
    source_size: tuple[int, int]
    """Width and height as stored, in pixels; `image` may be smaller."""
    alpha: Image.Image | None = None
    """Mode L, if the file has an alpha channel or a transparent colour."""
    profile: bytes | None = None
    """ICC profile, unchecked."""
    orientation: int = 1
    """EXIF orientation, 1 to 8."""
    animated: bool = False


def check_size(width: int, height: int) -> None:
    """Check the size that a header announces, before memory is allocated.

    Raises:
        RefusedError: there are no pixels, or more than `MAX_PIXELS`.
    """
    if width < 1 or height < 1:
        raise RefusedError(f"is damaged: its header says {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} million"
        raise RefusedError(f"is {width} x {height} pixels; at most {limit} pixels are read")


def decoded_by(
    decoder: type[ImageFile.ImageFile], data: bytes, *, draft_side: int | None = None
) -> ImageFile.ImageFile:
    """Decode with one of Pillow's plugins, called directly to skip the global checks of `Image.open`.

    Args:
        decoder: The plugin's class.
        data: The whole file.
        draft_side: Let the decoder shrink the picture, but neither side below this many pixels.

    Raises:
        RefusedError: the data is damaged.
    """
    try:
        image = decoder(io.BytesIO(data))
        if draft_side is not None:
            image.draft(None, (draft_side, draft_side))
        image.load()
    except MemoryError:
        raise
    # On hostile bytes the decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError,
    # OverflowError, zlib.error, AttributeError and more; their documentation names none of them.
    except Exception as error:
        if "truncated" in str(error):
            raise RefusedError(CUT_OFF) from error
        raise RefusedError(f"is damaged: its {decoder.format} data cannot be decoded") from error
    return image
