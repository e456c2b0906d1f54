"""EXIF, of which only the orientation is read."""

import struct
from types import MappingProxyType

from PIL import Image

_TAG = 0x0112
# From each orientation but 1 (upright) to the transposition that undoes it.
_TRANSPOSITIONS = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


def orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, from the first directory; 1 (upright) if it is missing or damaged."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _TAG:
                # The standard wants a SHORT; some programs write a LONG.
                (value,) = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and mirror a picture with this orientation upright."""
    if orientation not in _TRANSPOSITIONS:
        return image
    return image.transpose(_TRANSPOSITIONS[orientation])
