"""Pictures as bytes, written by Pillow, or by hand where Pillow cannot write them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets.reading import UnreadablePicture, read_picture

Pixels = npt.NDArray[np.uint8]
Write = Callable[..., Path]


def colourful(width: int = 16, height: int = 16, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> Pixels:
    """Low-frequency waves, which lossy formats and resampling hardly change."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [128 + 90 * np.sin(2.0 * x + y + c) * np.cos(1.5 * y - c) for c in range(3)]
    return np.stack(waves, axis=-1).round().astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    depth: int,
    colour_type: int,
    rows: bytes,
    *extra: tuple[bytes, bytes],
    interlace: int = 0,
) -> bytes:
    """A PNG by hand: `rows` holds the packed pixels, without filter bytes."""
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[i * stride : (i + 1) * stride] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(kind, body) for kind, body in extra),
            chunk(b"IDAT", zlib.compress(filtered)),
            chunk(b"IEND", b""),
        )
    )


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    directory = struct.pack(f"{order}H", 1) + entry + bytes(4)
    return b"Exif\0\0" + mark + struct.pack(f"{order}HI", 42, 8) + directory


def icc_profile(space: bytes, tags: dict[bytes, bytes], device: bytes = b"mntr") -> bytes:
    """A handmade version 2 profile, since only sRGB profiles are available everywhere."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    connection = b"Lab " if b"A2B0" in tags else b"XYZ "
    offset = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += padded
    total = 128 + len(table) + len(bodies)
    header = struct.pack(">I4sI4s4s4s", total, b"lcms", 0x02400000, device, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + d50 + bytes(48)
    assert len(header) == 128
    return header + table + bodies


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


# Columns: the primaries' XYZ under D50, as in Adobe's and the ICC's own profiles.
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def adobe_rgb_profile() -> bytes:
    tags = {}
    for letter, column in zip(b"rgb", ADOBE_RGB.T, strict=True):
        tags[bytes((letter,)) + b"XYZ"] = b"XYZ \0\0\0\0" + struct.pack(
            ">3i", *(round(v * 65536) for v in column)
        )
        tags[bytes((letter,)) + b"TRC"] = gamma_curve(2.19921875)
    return icc_profile(b"RGB ", tags)


def adobe_to_srgb(pixels: Pixels) -> npt.NDArray[np.float64]:
    linear = (pixels / 255.0) ** 2.19921875 @ (np.linalg.inv(SRGB) @ ADOBE_RGB).T
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def cmyk_profile() -> bytes:
    """Lab lightness falls with the first ink alone: L* = 100 where there is no cyan, 0 where there is all."""
    identity_curve = bytes(range(256))
    grid = b"".join(
        bytes((0 if cyan else 255, 128, 128)) for cyan in (0, 1) for _ in range(8)
    )  # cyan varies slowest
    body = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0))
    body += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    body += identity_curve * 4 + grid + identity_curve * 3
    return icc_profile(b"CMYK", {b"A2B0": body}, device=b"prtr")


def on_grey(values: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> Pixels:
    exact = (values.astype(float) * alpha + 128.0 * (255 - alpha.astype(float))) / 255
    return np.floor(exact + 0.5).astype(np.uint8)


def reason(path: Path, size: int = 16) -> str:
    """The reason for refusing a picture; checks the form of the message."""
    with pytest.raises(UnreadablePicture) as caught:
        read_picture(path, size)
    error = caught.value
    assert isinstance(error, LossariumError)
    assert str(error) == f"The picture {path} {error.reason}."
    assert error.path == path
    assert "\n" not in str(error)
    return error.reason
