"""Decode WebP; its size is read before anything is decoded."""

import struct

from PIL import WebPImagePlugin

from lossarium.facesets.decoding.decoded import CUT_OFF, Decoded, RefusedError, check_size, decoded_by
from lossarium.facesets.decoding.exif import orientation


def is_webp(data: bytes) -> bool:
    """Whether these bytes begin as every WebP does."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def decode(data: bytes) -> Decoded:
    """Decode a WebP; if it is animated, its first frame.

    Raises:
        RefusedError: it is damaged, cut off or too large.
    """
    cut_off = 8 + int.from_bytes(data[4:8], "little") > len(data)
    size = _canvas_size(data)
    if size is None:
        raise RefusedError(CUT_OFF if cut_off else "is damaged: it has no WebP header")
    check_size(*size)
    try:
        stored = decoded_by(WebPImagePlugin.WebPImageFile, data)
    except RefusedError as refusal:
        raise (RefusedError(CUT_OFF) if cut_off else refusal) from refusal
    has_alpha = stored.mode == "RGBA"
    return Decoded(
        image=stored.convert("RGB") if has_alpha else stored,
        source_size=size,
        alpha=stored.getchannel("A") if has_alpha else None,
        profile=stored.info.get("icc_profile"),
        orientation=orientation(stored.info.get("exif") or b""),
        animated=getattr(stored, "n_frames", 1) > 1,
    )


def _canvas_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, from the first of the three kinds of header; None if there is none."""
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
