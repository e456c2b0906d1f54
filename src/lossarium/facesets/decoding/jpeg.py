"""Decode JPEG, through a copy that holds only the segments that the pixels need."""

import re
import struct
from collections.abc import Iterator
from types import MappingProxyType

from PIL import JpegImagePlugin

from lossarium.facesets.decoding.decoded import (
    CUT_OFF,
    MAX_PIXELS,
    Decoded,
    RefusedError,
    check_size,
    decoded_by,
)
from lossarium.facesets.decoding.exif import orientation

_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_END, _START_OF_SCAN = 0xD9, 0xDA
# C4, C8 and CC lie in the range of the frame headers but are something else.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# 00 is a stuffed FF, and another FF a fill byte; the others are markers without a segment.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
# APP0 (JFIF) and APP14 (Adobe) tell the decoder how colours are stored. It does not need the other APPn
# segments and comments, and Pillow's parsers for them warn, raise and take time.
_UNNEEDED = frozenset({_COMMENT, *range(0xE1, 0xF0)}) - {_APP14}
# How these two begin; Pillow would also keep a list of other segments with the same markers.
_COLOUR_SIGNS = MappingProxyType({_APP0: b"JFIF", _APP14: b"Adobe"})

_MOST_PROFILE_PARTS = 255
# A progressive JPEG has about ten scans. An empty scan takes a few bytes in the file, but the decoder visits
# all pixels for it.
_MOST_SCANNED_PIXELS = 20 * MAX_PIXELS


def is_jpeg(data: bytes) -> bool:
    """Whether these bytes begin as every JPEG does."""
    return data.startswith(b"\xff\xd8\xff")


def decode(data: bytes, smallest_side: int) -> Decoded:
    """Decode a JPEG of 8 bits, at a reduced size if both sides stay at least `smallest_side`.

    Raises:
        RefusedError: it is damaged, cut off, too large or has another bit depth.
    """
    # Appended at once: a list of millions of empty segments would take far more memory than the file.
    minimal = bytearray(b"\xff\xd8")
    profile_parts: list[bytes] = []
    turned: int | None = None
    size: tuple[int, int] | None = None
    scans = 1
    for marker, segment in _segments(data):
        body = segment[4:]
        if marker == _APP1 and turned is None and bytes(body[:6]) == b"Exif\0\0":
            turned = orientation(bytes(body))
        elif marker == _APP2 and bytes(body[:12]) == b"ICC_PROFILE\0":
            if len(profile_parts) <= _MOST_PROFILE_PARTS:
                profile_parts.append(bytes(body[12:]))
        elif marker in _FRAME_HEADERS:
            size = _frame_size(body)
        elif marker == _START_OF_SCAN:
            scans = _scans(data, len(data) - len(segment))
        if marker not in _UNNEEDED and bytes(body[:5]).startswith(_COLOUR_SIGNS.get(marker, b"")):
            minimal += segment
    if size is None:
        raise RefusedError("is damaged: it has no JPEG header")
    if scans * size[0] * size[1] > _MOST_SCANNED_PIXELS:
        raise RefusedError(f"draws its {size[0]} x {size[1]} pixels {scans} times over; save it again")
    image = decoded_by(JpegImagePlugin.JpegImageFile, bytes(minimal), draft_side=smallest_side)
    return Decoded(
        image=image, source_size=size, profile=_joined_profile(profile_parts), orientation=turned or 1
    )


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height as `decode` finds them, from the headers only.

    Raises:
        RefusedError: as for `decode`.
    """
    sizes = [_frame_size(segment[4:]) for marker, segment in _segments(data) if marker in _FRAME_HEADERS]
    if not sizes:
        raise RefusedError("is damaged: it has no JPEG header")
    return sizes[-1]


def _segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Each marker with its segment, marker included; the last, start of scan, has the rest of the file."""
    view = memoryview(data)
    offset = 2
    while True:
        # There may be fill bytes between segments: 0xFF by the standard, any in files that decoders accept.
        found = _MARKER.search(data, offset)
        if found is None or found.start() + 4 > len(data):
            raise RefusedError(CUT_OFF)
        offset = found.start()
        marker = data[offset + 1]
        if marker == _END:
            raise RefusedError("is damaged: it holds no picture data")
        if marker == _START_OF_SCAN:
            yield marker, view[offset:]
            return
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if length < 2:
            raise RefusedError("is damaged: one of its JPEG segments has no length")
        end = offset + 2 + length
        if end > len(data):
            raise RefusedError(CUT_OFF)
        yield marker, view[offset:end]
        offset = end


def _scans(data: bytes, start: int) -> int:
    """An upper bound on the number of scans; inside picture data FF is always followed by 00."""
    end = data.find(b"\xff\xd9", start)
    return data.count(b"\xff\xda", start, len(data) if end < 0 else end)


def _frame_size(header: memoryview) -> tuple[int, int]:
    if len(header) < 6:
        raise RefusedError("is damaged: its JPEG header is too short")
    precision, height, width = struct.unpack_from(">BHH", header)
    check_size(width, height)
    if precision != 8:
        raise RefusedError(f"is a JPEG of {precision} bits; only JPEGs of 8 bits are read")
    return width, height


def _joined_profile(parts: list[bytes]) -> bytes | None:
    """Join the parts of a profile; each begins with its number, from 1, and the number of parts."""
    ordered = sorted(parts)
    count = len(ordered)
    if not 1 <= count <= _MOST_PROFILE_PARTS:
        return None
    if any(part[:2] != bytes((number, count)) for number, part in enumerate(ordered, 1)):
        return None
    return b"".join(part[2:] for part in ordered)
