"""Decode PNG, through a copy that holds only the chunks that the pixels need."""

import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from lossarium.facesets.decoding.colour import MAX_PROFILE_BYTES
from lossarium.facesets.decoding.decoded import CUT_OFF, Decoded, RefusedError, decoded_by
from lossarium.facesets.decoding.exif import orientation
from lossarium.facesets.decoding.png_container import (
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    SIGNATURE,
    Header,
    chunk,
    chunks_in_use,
    inflates_to,
)


def is_png(data: bytes) -> bool:
    """Whether these bytes begin as every PNG does."""
    return data.startswith(SIGNATURE)


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header only.

    Raises:
        RefusedError: as for `decode`.
    """
    start = len(SIGNATURE) + 8
    header = Header.parse(data[start : start + 13] if data[start - 4 : start] == b"IHDR" else b"")
    return header.width, header.height


def decode(data: bytes) -> Decoded:
    """Decode a PNG; if it is animated, its still picture.

    Raises:
        RefusedError: it is damaged, cut off or too large.
    """
    chunks, whole = chunks_in_use(data)
    header = Header.parse(chunks.get(b"IHDR", b""))
    compressed = chunks.get(b"IDAT", b"")
    # If the stream is too short, Pillow leaves the rest of the picture black without an error.
    if not inflates_to(compressed, header.pixel_bytes):
        raise RefusedError("is damaged: it holds fewer pixels than its header says" if whole else CUT_OFF)
    minimal = [SIGNATURE, chunk(b"IHDR", chunks[b"IHDR"])]
    if header.colour_type == PALETTE:
        palette = chunks.get(b"PLTE", b"")
        if not palette or len(palette) % 3:
            raise RefusedError("is damaged: it has no palette")
        minimal.append(chunk(b"PLTE", palette[:768]))
    minimal += [chunk(b"IDAT", compressed), chunk(b"IEND", b"")]
    stored = decoded_by(PngImagePlugin.PngImageFile, b"".join(minimal))

    image, alpha = _colour_and_alpha(stored, header, chunks.get(b"tRNS", b""))
    animation = chunks.get(b"acTL", b"")
    return Decoded(
        image=image,
        source_size=(header.width, header.height),
        alpha=alpha,
        profile=_profile(chunks.get(b"iCCP", b"")),
        orientation=orientation(chunks.get(b"eXIf", b"")),
        animated=len(animation) >= 8 and int.from_bytes(animation[:4], "big") > 1,
    )


def _colour_and_alpha(
    stored: Image.Image, header: Header, transparency: bytes
) -> tuple[Image.Image, Image.Image | None]:
    """The picture in mode L or RGB, and its alpha in mode L if it has one."""
    if header.colour_type == GREY_ALPHA:
        return stored.convert("L"), stored.getchannel("A")
    if header.colour_type == RGB_ALPHA:
        return stored.convert("RGB"), stored.getchannel("A")
    if header.colour_type == PALETTE:
        return stored.convert("RGB"), _alpha_of_palette(stored, transparency)
    # In grey and RGB pictures, tRNS may name one colour that is transparent.
    key: tuple[int, ...] | None = None
    if len(transparency) == 2 * header.channels:
        values = struct.unpack(f">{header.channels}H", transparency)
        key = tuple(value & (2**header.depth - 1) for value in values)
    if header.colour_type == RGB:
        return stored, None if key is None else _alpha_of_rgb(stored, key, header.depth)
    if header.depth == 16:
        deep = np.asarray(stored).astype(np.uint16, copy=False)
        image = Image.fromarray(_sixteen_to_eight_bits(deep))
        return image, None if key is None else _opacity(deep != key[0])
    grey = stored.convert("L")
    level = None if key is None else key[0] * 255 // (2**header.depth - 1)
    return grey, None if level is None else _opacity(np.asarray(grey) != level)


def _alpha_of_palette(indices: Image.Image, transparency: bytes) -> Image.Image | None:
    """Alpha from tRNS, which has values for the first entries of the palette; the others are opaque."""
    if not transparency:
        return None
    table = np.full(256, 255, np.uint8)
    table[: len(transparency)] = np.frombuffer(transparency[:256], np.uint8)
    return Image.fromarray(np.asarray(indices)).point(table.tolist())


def _alpha_of_rgb(image: Image.Image, key: tuple[int, ...], depth: int) -> Image.Image:
    # The decoder keeps the high byte of 16-bit colours.
    colour = (np.array(key, np.uint16) >> (depth - 8)).astype(np.uint8)
    return _opacity(np.any(np.asarray(image) != colour, axis=2))


def _opacity(opaque: npt.NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))


def _sixteen_to_eight_bits(deep: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """round(x / 257), which maps 65535 to 255, in 16-bit arithmetic."""
    quotient, remainder = np.divmod(deep, np.uint16(257))
    return (quotient + (remainder > 128)).astype(np.uint8)


def _profile(chunk: bytes) -> bytes | None:
    _, _, rest = chunk.partition(b"\0")
    if rest[:1] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None
