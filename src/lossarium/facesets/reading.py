"""Reading one picture: any JPEG, PNG or WebP to a square of 8-bit RGB, or one sentence why not.

A picture's container is taken apart here and only what its pixels need is handed to Pillow's decoder for that
format. So the size is known before any pixel memory is asked for, text and metadata can neither overflow nor
spoil a good picture, and Pillow's global settings and warnings, which threads would share, play no part.
"""

import functools
import io
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from lossarium.errors import LossariumError

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused from their header alone."""
MAX_FILE_BYTES = 512 * 2**20
"""Larger files are refused unread."""
MAX_PROFILE_BYTES = 4 * 2**20
"""Larger colour profiles are ignored; the largest in use, of printing presses, take 3 MB."""
MID_GREY = 128
"""What transparent pixels are laid on."""

_CUT_OFF = "ends early: its picture data is cut off"

# JPEG's draft mode and the box reduction before Lanczos both stop at this multiple of the wanted size.
# Pillow's documentation calls the outcome of 3 close to indistinguishable from Lanczos alone.
_REDUCING_GAP = 3


class Remark(Enum):
    """What a user ought to know about how a picture was read."""

    ALPHA = "has transparency, which is laid on mid-grey"
    ANIMATION = "is an animation, of which the first frame is used"
    NOT_SQUARE = "is not square, and its centre square is used"
    ENLARGED = "is smaller than the wanted size, and enlarged"
    PROFILE = "carries a colour profile other than sRGB, and is converted to sRGB"


@dataclass(frozen=True)
class Picture:
    """One picture as read."""

    pixels: npt.NDArray[np.uint8]
    """(size, size, 3), sRGB."""
    remarks: frozenset[Remark]
    """What has to be said about it."""
    source_size: tuple[int, int]
    """Width and height as stored in the file, in pixels."""


class UnreadablePicture(LossariumError):  # noqa: N818 - what was read, not what went wrong
    """A file that cannot be read as a picture; the message names it and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        """Goes on from the file's name: "is empty (0 bytes)"."""

    def __str__(self) -> str:
        return f"The picture {printable_name(self.path)} {self.reason}."


def read_picture(path: Path, size: int) -> Picture:
    """Read a JPEG, PNG or WebP, told by its content and not by its name, as `size` x `size` 8-bit sRGB.

    Any mode is read: 1-bit, grey, palette, RGB, CMYK and YCCK, with 8 or 16 bits (16-bit grey is rounded, of
    16-bit colour the decoder keeps the high byte). Colour profiles are converted to sRGB, or ignored where
    they are unusable. Alpha is laid on mid-grey, the EXIF orientation applied, and of an animation the first
    frame used (of an animated PNG its still picture, which is the first frame unless the file hides it from
    the animation). The centre square is scaled by Lanczos when it shrinks and bicubically when it grows; a
    picture that has the size already keeps its pixels bit for bit.

    Raises:
        UnreadablePicture: the file cannot be opened, is no such picture, is damaged, or is larger than
            `MAX_PIXELS` or `MAX_FILE_BYTES`.
    """
    try:
        decoded = _decode(_read_bytes(path), path, smallest_side=size)
        return _finish(decoded, size)
    except _RefusedError as refusal:
        raise UnreadablePicture(path, refusal.reason) from refusal
    except MemoryError as error:
        raise UnreadablePicture(path, "needs more memory than there is") from error


def read_face_mask(path: Path, size: int, *, source_size: int) -> npt.NDArray[np.uint8]:
    """Read the first channel of a faceset's mask PNG, reduced to `size` by area averages.

    The channels of a mask are face, eyes, mouth and foreground; the last of them, stored as alpha, is not
    transparency and nothing is laid on grey.

    Args:
        path: PNG in colour of `source_size` x `source_size` pixels.
        size: Side of the outcome.
        source_size: Side of the stored mask; another one is refused.

    Returns:
        (size, size), 255 where the face is.

    Raises:
        UnreadablePicture: as `read_picture`, and for a mask of another kind or size.
    """
    try:
        data = _read_bytes(path)
        if not data.startswith(_PNG_SIGNATURE):
            raise _RefusedError("is not the PNG that a mask has to be")
        decoded = _decode_png(data)
        if decoded.image.mode != "RGB":
            raise _RefusedError("is grey, but a mask has the channels face, eyes, mouth and foreground")
        if decoded.source_size != (source_size, source_size):
            width, height = decoded.source_size
            raise _RefusedError(
                f"is {width} x {height} pixels, but its frame is {source_size} x {source_size}"
            )
        face = decoded.image.getchannel("R")
        return _as_array(face.resize((size, size), Image.Resampling.BOX) if size != source_size else face)
    except _RefusedError as refusal:
        raise UnreadablePicture(path, refusal.reason) from refusal
    except MemoryError as error:
        raise UnreadablePicture(path, "needs more memory than there is") from error


def printable_name(path: Path | str) -> str:
    """A path fit for a sentence: line breaks, control codes and undecodable bytes are escaped."""
    text = path if isinstance(path, str) else path.as_posix()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def reason_of(error: OSError) -> str:
    """The system's reason in the middle of a sentence: "permission denied"."""
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]


class _RefusedError(Exception):
    """Why a file is not read; becomes an `UnreadablePicture` where its path is known."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Decoded:
    """Pixels as stored, and what the container says about them."""

    image: Image.Image
    """Mode L, RGB or CMYK."""
    source_size: tuple[int, int]
    alpha: Image.Image | None = None
    """Mode L; None where nothing is transparent."""
    profile: bytes | None = None
    orientation: int = 1
    animated: bool = False


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            raise _RefusedError("is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            megabytes = -(-status.st_size // 2**20)
            raise _RefusedError(f"takes {megabytes} MiB; at most {MAX_FILE_BYTES // 2**20} MiB are read")
        with path.open("rb") as file:
            # No more than was announced, even if the file grows meanwhile.
            data = file.read(MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise _RefusedError("does not exist") from error
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise _RefusedError(f"cannot be opened: {reason}") from error
    if not data:
        raise _RefusedError("is empty (0 bytes)")
    return data


def _decode(data: bytes, path: Path, smallest_side: int) -> _Decoded:
    if data.startswith(_PNG_SIGNATURE):
        return _decode_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _decode_jpeg(data, smallest_side)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _decode_webp(data)
    for pattern, kind in _OTHER_KINDS:
        if re.match(pattern, data[:512], re.DOTALL | re.IGNORECASE):
            raise _RefusedError(f"is {kind}; only JPEG, PNG and WebP are read")
    ending = printable_name(path.suffix)
    raise _RefusedError(
        f"holds no picture although its name ends in {ending}" if ending else "holds no picture"
    )


# What turns up under a picture's name, so that its owner learns what happened to it.
_OTHER_KINDS = (
    (rb"GIF8[79]a", "a GIF"),
    (rb"II[*+]\0|MM\0[*+]", "a TIFF"),
    (rb"BM.{4}\0{4}", "a BMP"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
    (rb"%PDF-", "a PDF document"),
    (rb".{4}ftypavi[fs]", "an AVIF"),
    (rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "a HEIC"),
    (rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ", "a video"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL"),
    (rb"\0\0\0\x0cjP {2}|\xff\x4f\xff\x51", "a JPEG 2000"),
    (rb"8BPS", "a Photoshop document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"version https://git-lfs", "a Git LFS pointer and not the picture itself"),
    (rb"\s*<(!doctype html|html)", "a web page"),
    (rb"\s*<(\?xml|svg)", "an SVG or XML document"),
)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise _RefusedError(f"is damaged: its header says {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} million"
        raise _RefusedError(f"is {width} x {height} pixels; at most {limit} pixels are read")


def _loaded(
    decoder: type[ImageFile.ImageFile], data: bytes, *, draft_side: int | None = None
) -> ImageFile.ImageFile:
    """Decode with one of Pillow's plugins; its class skips the global checks and warnings of `Image.open`."""
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
            raise _RefusedError(_CUT_OFF) from error
        raise _RefusedError(f"is damaged: its {decoder.format} data cannot be decoded") from error
    return image


# --- PNG ---

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS_IN_USE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"IDAT"})
# Bit depths that each colour type allows, and its number of channels.
_PNG_COLOUR_TYPES = MappingProxyType(
    {0: ((1, 2, 4, 8, 16), 1), 2: ((8, 16), 3), 3: ((1, 2, 4, 8), 1), 4: ((8, 16), 2), 6: ((8, 16), 4)}
)
# First column and row of each of Adam7's passes, and its steps.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class _PngHeader:
    width: int
    height: int
    depth: int
    colour_type: int
    interlaced: bool

    @classmethod
    def parse(cls, body: bytes) -> "_PngHeader":
        if len(body) != 13:
            raise _RefusedError("is damaged: it has no PNG header")
        width, height, depth, colour_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
        _check_size(width, height)
        depths, _ = _PNG_COLOUR_TYPES.get(colour_type, ((), 0))
        if depth not in depths or compression or filtering or interlace > 1:
            raise _RefusedError("is damaged: its PNG header names a format that does not exist")
        return cls(width, height, depth, colour_type, bool(interlace))

    @property
    def pixel_bytes(self) -> int:
        """Length of the inflated picture data: a filter byte and the pixels for each row of each pass."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        bits = self.depth * _PNG_COLOUR_TYPES[self.colour_type][1]
        total = 0
        for left, top, across, down in passes:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * bits + 7) // 8)
        return total


def _decode_png(data: bytes) -> _Decoded:
    chunks, whole = _png_chunks(data)
    header = _PngHeader.parse(chunks.get(b"IHDR", b""))
    compressed = chunks.get(b"IDAT", b"")
    # Pillow fills what a short stream leaves out with black and says nothing.
    if not _inflates_to(compressed, header.pixel_bytes):
        raise _RefusedError("is damaged: it holds fewer pixels than its header says" if whole else _CUT_OFF)
    palette = chunks.get(b"PLTE", b"")
    if header.colour_type == 3 and (not palette or len(palette) % 3):
        raise _RefusedError("is damaged: it has no palette")

    minimal = [(b"IHDR", chunks[b"IHDR"]), (b"IDAT", compressed), (b"IEND", b"")]
    if header.colour_type == 3:
        minimal.insert(1, (b"PLTE", palette[:768]))
    stored = _loaded(PngImagePlugin.PngImageFile, _PNG_SIGNATURE + b"".join(map(_png_chunk, minimal)))

    image, alpha = _png_colour_and_alpha(stored, header, chunks.get(b"tRNS"))
    animation = chunks.get(b"acTL", b"")
    return _Decoded(
        image=image,
        source_size=(header.width, header.height),
        alpha=alpha,
        profile=_png_profile(chunks.get(b"iCCP", b"")),
        orientation=_orientation(chunks.get(b"eXIf", b"")),
        animated=len(animation) >= 8 and int.from_bytes(animation[:4], "big") > 1,
    )


def _png_chunks(data: bytes) -> tuple[Mapping[bytes, bytes], bool]:
    """The chunks in use, the parts of IDAT joined, and whether the file goes on to its end.

    As in libpng a wrong checksum spoils a critical chunk, whose name begins with a capital, and makes any
    other one disregarded.
    """
    view = memoryview(data)
    found: dict[bytes, list[memoryview]] = {}
    offset = len(_PNG_SIGNATURE)
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
            raise _RefusedError(f"is damaged: the checksum of its {name} data is wrong")
        if kind in _PNG_CHUNKS_IN_USE and (kind == b"IDAT" or (kind not in found and len(body) == length)):
            found.setdefault(kind, []).append(body)
        whole = kind == b"IEND"
    if not whole and b"IHDR" not in found:
        raise _RefusedError(_CUT_OFF)
    return {kind: b"".join(parts) for kind, parts in found.items()}, whole


def _png_chunk(kind_and_body: tuple[bytes, bytes]) -> bytes:
    kind, body = kind_and_body
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))


def _inflates_to(compressed: bytes, wanted: int) -> bool:
    """Whether a zlib stream gives `wanted` bytes; counts them in parts and keeps none."""
    stream = zlib.decompressobj()
    total = 0
    # Deflate grows by 1032 at most, so that a part takes no more than 17 MB.
    part = 16_384
    try:
        for start in range(0, len(compressed), part):
            total += len(stream.decompress(compressed[start : start + part]))
            if total >= wanted:
                return True
            if stream.eof:
                return False
    except zlib.error as error:
        raise _RefusedError("is damaged: its PNG data cannot be decompressed") from error
    return total >= wanted


def _png_colour_and_alpha(
    stored: Image.Image, header: _PngHeader, transparency: bytes | None
) -> tuple[Image.Image, Image.Image | None]:
    """The picture in mode L or RGB and its alpha in mode L, or None where it is opaque."""
    if header.colour_type in (4, 6):
        alpha: Image.Image | None = stored.getchannel("A")
        image = stored.convert("L" if header.colour_type == 4 else "RGB")
    elif header.colour_type == 3:
        image = stored.convert("RGB")
        alpha = None
        if transparency:
            table = np.full(256, 255, np.uint8)
            table[: len(transparency)] = np.frombuffer(transparency[:256], np.uint8)
            alpha = Image.fromarray(np.asarray(stored)).point(table.tolist())
    else:
        image, alpha = _png_colour_key(stored, header, transparency)
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    return image, alpha


def _png_colour_key(
    stored: Image.Image, header: _PngHeader, transparency: bytes | None
) -> tuple[Image.Image, Image.Image | None]:
    """Grey and RGB, of which tRNS may name the one colour that is transparent."""
    channels = _PNG_COLOUR_TYPES[header.colour_type][1]
    key: tuple[int, ...] | None = None
    if transparency is not None and len(transparency) == 2 * channels:
        key = tuple(value & (2**header.depth - 1) for value in struct.unpack(f">{channels}H", transparency))
    if header.colour_type == 2:
        if key is None:
            return stored, None
        # Of 16-bit colour the decoder keeps the high byte.
        low = np.array(key, np.uint16) >> (header.depth - 8)
        opaque = np.any(np.asarray(stored) != low.astype(np.uint8), axis=2)
        return stored, _opacity(opaque)
    if header.depth == 16:
        deep = np.asarray(stored).astype(np.uint16, copy=False)
        image = Image.fromarray(_sixteen_to_eight_bits(deep))
        return image, None if key is None else _opacity(deep != key[0])
    grey = stored.convert("L")
    if key is None:
        return grey, None
    return grey, _opacity(np.asarray(grey) != key[0] * 255 // (2**header.depth - 1))


def _opacity(opaque: npt.NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))


def _sixteen_to_eight_bits(deep: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """round(x / 257), which takes 65535 to 255, without leaving 16 bits."""
    quotient, remainder = np.divmod(deep, np.uint16(257))
    return (quotient + (remainder > 128)).astype(np.uint8)


def _png_profile(chunk: bytes) -> bytes | None:
    _, _, rest = chunk.partition(b"\0")
    if rest[:1] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None


# --- JPEG ---


def _decode_jpeg(data: bytes, smallest_side: int) -> _Decoded:
    # APP0 (JFIF) and APP14 (Adobe) tell the decoder how colours are stored. Of all other APPn and of comments
    # it needs nothing, and Pillow's parsers of theirs warn, raise and take time.
    unneeded = frozenset({0xFE, *range(0xE1, 0xF0)} - {0xEE})
    minimal: list[bytes | memoryview] = [b"\xff\xd8"]
    profile_parts: list[bytes] = []
    orientation: int | None = None
    size: tuple[int, int] | None = None
    for marker, segment in _jpeg_segments(data):
        body = segment[4:]
        if marker == 0xE1 and orientation is None and bytes(body[:6]) == b"Exif\0\0":
            orientation = _orientation(bytes(body))
        elif marker == 0xE2 and bytes(body[:12]) == b"ICC_PROFILE\0":
            profile_parts.append(bytes(body[12:]))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(body) < 6:
                raise _RefusedError("is damaged: its JPEG header is too short")
            precision, height, width = struct.unpack_from(">BHH", body)
            _check_size(width, height)
            if precision != 8:
                raise _RefusedError(f"is a JPEG of {precision} bits; only JPEGs of 8 bits are read")
            size = width, height
        if marker not in unneeded:
            minimal.append(segment)
    if size is None:
        raise _RefusedError("is damaged: it has no JPEG header")
    image = _loaded(
        JpegImagePlugin.JpegImageFile, b"".join(minimal), draft_side=_REDUCING_GAP * max(1, smallest_side)
    )
    return _Decoded(
        image=image, source_size=size, profile=_jpeg_profile(profile_parts), orientation=orientation or 1
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Markers and their segments, from the marker on; the last is the start of scan with all that follows."""
    view = memoryview(data)
    offset = 2
    while True:
        # Between segments there may be filling: 0xFF by the standard, anything by what decoders let pass.
        offset = data.find(b"\xff", offset)
        while 0 <= offset < len(data) - 1 and data[offset + 1] == 0xFF:
            offset += 1
        if offset < 0 or offset + 4 > len(data):
            raise _RefusedError(_CUT_OFF)
        marker = data[offset + 1]
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            offset += 2
            continue
        if marker == 0xD9:
            raise _RefusedError("is damaged: it holds no picture data")
        if marker == 0xDA:
            yield marker, view[offset:]
            return
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if length < 2:
            raise _RefusedError("is damaged: one of its JPEG segments has no length")
        end = offset + 2 + length
        if end > len(data):
            raise _RefusedError(_CUT_OFF)
        yield marker, view[offset:end]
        offset = end


def _jpeg_profile(parts: list[bytes]) -> bytes | None:
    """Join the parts of a profile; each begins with its number, from 1, and how many there are."""
    ordered = sorted(parts)
    count = len(ordered)
    if not count or any(part[:2] != bytes((number, count)) for number, part in enumerate(ordered[:255], 1)):
        return None
    profile = b"".join(part[2:] for part in ordered)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None


# --- WebP ---


def _decode_webp(data: bytes) -> _Decoded:
    cut_off = 8 + int.from_bytes(data[4:8], "little") > len(data)
    size = _webp_size(data)
    if size is None:
        raise _RefusedError(_CUT_OFF if cut_off else "is damaged: it has no WebP header")
    _check_size(*size)
    try:
        stored = _loaded(WebPImagePlugin.WebPImageFile, data)
    except _RefusedError as refusal:
        raise (_RefusedError(_CUT_OFF) if cut_off else refusal) from refusal
    alpha: Image.Image | None = None
    if stored.mode == "RGBA":
        alpha = stored.getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    profile = stored.info.get("icc_profile")
    return _Decoded(
        image=_as_rgb(stored),
        source_size=size,
        alpha=alpha,
        profile=profile if isinstance(profile, bytes) and len(profile) <= MAX_PROFILE_BYTES else None,
        orientation=_orientation(stored.info.get("exif") or b""),
        animated=getattr(stored, "n_frames", 1) > 1,
    )


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas, from whichever of the three headers comes first."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


# --- From what is stored to what is seen ---


def _finish(decoded: _Decoded, size: int) -> Picture:
    remarks: set[Remark] = set()
    image, converted = _to_srgb(decoded.image, decoded.profile)
    if converted:
        remarks.add(Remark.PROFILE)
    if decoded.animated:
        remarks.add(Remark.ANIMATION)
    if decoded.alpha is not None:
        remarks.add(Remark.ALPHA)
        ground = Image.new("RGB", image.size, (MID_GREY, MID_GREY, MID_GREY))
        ground.paste(image, mask=decoded.alpha)
        image = ground
    if decoded.orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[decoded.orientation])

    if decoded.source_size[0] != decoded.source_size[1]:
        remarks.add(Remark.NOT_SQUARE)
    if min(decoded.source_size) < size:
        remarks.add(Remark.ENLARGED)
    return Picture(_centre_square(image, size), frozenset(remarks), decoded.source_size)


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


# EXIF's orientations, apart from 1 (upright), to what undoes each.
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


def _orientation(exif: bytes) -> int:
    """EXIF's tag 0x0112 in the first directory; 1, upright, where it is missing or broken."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112:
                # A SHORT by the standard; some write a LONG.
                (value,) = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """RGB in sRGB, and whether the profile changed any colour; an unusable profile is ignored."""
    if profile:
        # A grey picture often carries the profile of the colour one that it was made from.
        for coloured in (image, image.convert("RGB")) if image.mode == "L" else (image,):
            if not _is_srgb(profile, coloured.mode):
                converted = _converted(coloured, profile)
                if converted is not None:
                    return converted, True
    return _as_rgb(image), False


def _as_rgb(image: Image.Image) -> Image.Image:
    # Pillow would copy a picture that is RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=32)
def _is_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile is sRGB, which comes in dozens of files and names.

    What it does to colours tells it: up to rounding, nothing.
    """
    if mode == "CMYK":
        return False
    probe = _probe_colours(mode)
    seen = _converted(probe, profile)
    if seen is None:
        return False
    change = np.asarray(seen, np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return bool(np.abs(change).max() <= 2)


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB, or None where the profile is damaged or for pictures of another kind."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(embedded.profile.xcolor_space) != image.mode:
            return None
        transform = ImageCms.ImageCmsTransform(
            embedded,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform.apply(image)
    except MemoryError:
        raise
    # Whatever is wrong with a profile, the picture is good. Pillow raises OSError, ValueError and more.
    except Exception:
        return None


def _probe_colours(mode: str) -> Image.Image:
    """All 256 greys, or an even grid of 9 x 9 x 9 colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))
