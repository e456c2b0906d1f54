"""The PNG container: chunks with checksums, the header, the compressed data."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lossarium.facesets.decoding.decoded import CUT_OFF, RefusedError, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""The header's colour types."""

_CHUNKS_IN_USE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"IDAT"})
# The bit depths and the number of channels of each colour type.
_COLOUR_TYPES = MappingProxyType(
    {
        GREY: ((1, 2, 4, 8, 16), 1),
        RGB: ((8, 16), 3),
        PALETTE: ((1, 2, 4, 8), 1),
        GREY_ALPHA: ((8, 16), 2),
        RGB_ALPHA: ((8, 16), 4),
    }
)
# First column and row, and column and row steps, of each of Adam7's passes.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class Header:
    """The content of IHDR, checked."""

    width: int
    height: int
    depth: int
    colour_type: int
    interlaced: bool

    @classmethod
    def parse(cls, body: bytes) -> "Header":
        """Parse the body of an IHDR chunk.

        Raises:
            RefusedError: it is damaged or announces too many pixels.
        """
        if len(body) != 13:
            raise RefusedError("is damaged: it has no PNG header")
        width, height, depth, colour_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
        check_size(width, height)
        depths, _ = _COLOUR_TYPES.get(colour_type, ((), 0))
        if depth not in depths or compression or filtering or interlace > 1:
            raise RefusedError("is damaged: its PNG header names a format that does not exist")
        return cls(width, height, depth, colour_type, bool(interlace))

    @property
    def channels(self) -> int:
        """How many numbers a pixel is stored as; a palette index is one number."""
        return _COLOUR_TYPES[self.colour_type][1]

    @property
    def pixel_bytes(self) -> int:
        """Length of the decompressed picture data: for each row of each pass a filter byte and the pixels."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for left, top, across, down in passes:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * self.depth * self.channels + 7) // 8)
        return total


def chunks_in_use(data: bytes) -> tuple[Mapping[bytes, bytes], bool]:
    """The chunks that are used, with all IDAT chunks joined, and whether the file is complete (has IEND).

    As in libpng, a wrong checksum is an error in a critical chunk (its name begins with a capital letter);
    any other chunk with a wrong checksum is ignored.

    Raises:
        RefusedError: a critical chunk is damaged, or the file ends before its header does.
    """
    view = memoryview(data)
    # Appended at once: a list of millions of small IDAT chunks would take far more memory than the file.
    found: dict[bytes, bytearray] = {}
    offset = len(SIGNATURE)
    whole = False
    while not whole and offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        body = view[offset + 8 : offset + 8 + length]
        checksum = data[offset + 8 + length : offset + 12 + length]
        offset += 12 + length
        if len(checksum) == 4 and zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
            if kind[0] & 0x20:
                continue
            name = kind.decode("ascii") if kind.isalpha() else "unknown"
            raise RefusedError(f"is damaged: the checksum of its {name} data is wrong")
        if kind in _CHUNKS_IN_USE and (kind == b"IDAT" or (kind not in found and len(body) == length)):
            found.setdefault(kind, bytearray()).extend(body)
        whole = kind == b"IEND"
    if not whole and b"IHDR" not in found:
        raise RefusedError(CUT_OFF)
    return {kind: bytes(body) for kind, body in found.items()}, whole


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it is stored: its length, kind, body and checksum."""
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))


def inflates_to(compressed: bytes, wanted: int) -> bool:
    """Whether a zlib stream decompresses to at least `wanted` bytes; they are counted and not kept.

    Raises:
        RefusedError: the stream is damaged before that many.
    """
    stream = zlib.decompressobj()
    total = 0
    # Deflate expands at most 1032 times, so that a part takes at most 17 MB.
    part = 16_384
    try:
        for start in range(0, len(compressed), part):
            total += len(stream.decompress(compressed[start : start + part]))
            if total >= wanted:
                return True
            if stream.eof:
                return False
    except zlib.error as error:
        raise RefusedError("is damaged: its PNG data cannot be decompressed") from error
    return total >= wanted
