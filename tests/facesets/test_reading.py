"""One picture: every mode and format, every refusal, and hostile bytes."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from lossarium.errors import LossariumError
from lossarium.facesets.reading import (
    MAX_FILE_BYTES,
    Remark,
    UnreadablePicture,
    read_face_mask,
    read_picture,
)

Pixels = npt.NDArray[np.uint8]


def colourful(width: int = 16, height: int = 16, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> Pixels:
    """Slow waves, that lossy formats and resampling hardly change."""
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
    """A version 2 profile by hand, since none of another space than sRGB can be had everywhere."""
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


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(data: bytes, name: str = "picture.png") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_file


Write = Callable[..., Path]


def test_a_picture_of_the_wanted_size_keeps_every_bit(write: Write) -> None:
    pixels = colourful()
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        picture = read_picture(write(encoded(Image.fromarray(pixels), kind, **options)), 16)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.pixels.dtype == np.uint8
        assert picture.remarks == frozenset()
        assert picture.source_size == (16, 16)
        assert picture.pixels.flags.writeable


def test_jpeg_equals_pillows_own_decoding(write: Write) -> None:
    data = encoded(Image.fromarray(smooth(32, 32)), "JPEG", quality=95)
    picture = read_picture(write(data, "a.jpg"), 32)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert np.abs(picture.pixels.astype(int) - smooth(32, 32)).max() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a"])
def test_the_content_tells_the_format_and_not_the_name(write: Write, kind: str, name: str) -> None:
    picture = read_picture(write(encoded(Image.fromarray(smooth(16, 16)), kind), name), 16)
    assert np.abs(picture.pixels.astype(int) - smooth(16, 16)).mean() < 6


def test_grey_of_every_depth(write: Write) -> None:
    for depth in (1, 2, 4, 8):
        levels = 2**depth
        values = np.arange(64).reshape(8, 8) % levels
        bits = ((values[:, :, None] >> np.arange(depth)[::-1]) & 1).reshape(8, -1)
        path = write(png(8, 8, depth, 0, np.packbits(bits.astype(np.uint8), axis=1).tobytes()))
        expected = (values * 255 // (levels - 1)).astype(np.uint8)
        np.testing.assert_array_equal(
            read_picture(path, 8).pixels, np.repeat(expected[:, :, None], 3, axis=2)
        )


def test_sixteen_bit_grey_is_rounded_and_not_clipped(write: Write) -> None:
    values = np.array([0, 1, 128, 129, 256, 257, 32767, 32768, 65278, 65406, 65407, 65535] + [40_000] * 4)
    values = values.reshape(4, 4)
    path = write(png(4, 4, 16, 0, values.astype(">u2").tobytes()))
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_picture(path, 4).pixels[:, :, 0], expected)
    assert expected.max() == 255

    # All 65,536 values at once, as written by Pillow.
    every = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    path = write(encoded(Image.fromarray(every), "PNG"))
    np.testing.assert_array_equal(
        read_picture(path, 256).pixels[:, :, 1], np.round(every / 257).astype(np.uint8)
    )


def test_sixteen_bit_colour(write: Write) -> None:
    eight = colourful(4, 4)
    path = write(png(4, 4, 16, 2, (eight.astype(">u2") * 257).tobytes()))
    np.testing.assert_array_equal(read_picture(path, 4).pixels, eight)

    opaque = np.concatenate([eight, np.full((4, 4, 1), 255, np.uint8)], axis=2)
    path = write(png(4, 4, 16, 6, (opaque.astype(">u2") * 257).tobytes()))
    picture = read_picture(path, 4)
    np.testing.assert_array_equal(picture.pixels, eight)
    assert picture.remarks == frozenset()

    grey_alpha = colourful(4, 4, 2)
    path = write(png(4, 4, 16, 4, (grey_alpha.astype(">u2") * 257).tobytes()))
    picture = read_picture(path, 4)
    np.testing.assert_array_equal(picture.pixels[:, :, 2], on_grey(grey_alpha[:, :, 0], grey_alpha[:, :, 1]))


def on_grey(values: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> Pixels:
    exact = (values.astype(float) * alpha + 128.0 * (255 - alpha.astype(float))) / 255
    return np.floor(exact + 0.5).astype(np.uint8)


def test_alpha_is_laid_on_mid_grey(write: Write) -> None:
    rgba = colourful(16, 16, 4)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        picture = read_picture(write(encoded(Image.fromarray(rgba), kind, **options)), 16)
        np.testing.assert_array_equal(picture.pixels, on_grey(rgba[:, :, :3], rgba[:, :, 3:]))
        assert picture.remarks == {Remark.ALPHA}

    grey_alpha = colourful(16, 16, 2)
    picture = read_picture(write(encoded(Image.fromarray(grey_alpha, "LA"), "PNG")), 16)
    np.testing.assert_array_equal(picture.pixels[:, :, 0], on_grey(grey_alpha[:, :, 0], grey_alpha[:, :, 1]))


def test_opaque_alpha_is_not_worth_a_remark(write: Write) -> None:
    rgba = colourful(16, 16, 4)
    rgba[:, :, 3] = 255
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        picture = read_picture(write(encoded(Image.fromarray(rgba), kind, **options)), 16)
        np.testing.assert_array_equal(picture.pixels, rgba[:, :, :3])
        assert picture.remarks == frozenset()


def test_palettes_with_and_without_transparency(write: Write) -> None:
    palette = colourful(1, 200, 3).reshape(200, 3)
    indices = np.random.default_rng(1).integers(0, 200, (16, 16), dtype=np.uint8)
    plte = (b"PLTE", palette.tobytes())
    picture = read_picture(write(png(16, 16, 8, 3, indices.tobytes(), plte)), 16)
    np.testing.assert_array_equal(picture.pixels, palette[indices])
    assert picture.remarks == frozenset()

    alpha = np.full(200, 255, np.uint8)
    alpha[:100] = np.arange(100) * 2
    for entries in (alpha[:100], alpha):
        path = write(png(16, 16, 8, 3, indices.tobytes(), plte, (b"tRNS", entries.tobytes())))
        picture = read_picture(path, 16)
        np.testing.assert_array_equal(picture.pixels, on_grey(palette[indices], alpha[indices][:, :, None]))
        assert picture.remarks == {Remark.ALPHA}

    # One transparent entry, which Pillow keeps as a number and not as a table.
    index = int(indices[0, 0])
    path = write(png(16, 16, 8, 3, indices.tobytes(), plte, (b"tRNS", b"\xff" * index + b"\0")))
    expected = palette[indices].copy()
    expected[indices == index] = 128
    np.testing.assert_array_equal(read_picture(path, 16).pixels, expected)

    bits = np.tile(np.array([0b01010101], np.uint8), (8, 1))
    path = write(png(8, 8, 1, 3, bits.tobytes(), (b"PLTE", b"\x01\x02\x03\x04\x05\x06"), (b"tRNS", b"\0")))
    np.testing.assert_array_equal(read_picture(path, 8).pixels[3, :2], [[128, 128, 128], [4, 5, 6]])


def test_one_transparent_colour_of_grey_and_rgb(write: Write) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = write(png(8, 8, 8, 0, grey.tobytes(), (b"tRNS", struct.pack(">H", 9))))
    expected = np.where(grey == 9, 128, grey)
    np.testing.assert_array_equal(read_picture(path, 8).pixels[:, :, 0], expected)

    two_bits = np.full((8, 2), 0b00011011, np.uint8)
    path = write(png(8, 8, 2, 0, two_bits.tobytes(), (b"tRNS", struct.pack(">H", 2))))
    np.testing.assert_array_equal(read_picture(path, 8).pixels[0, :4, 0], [0, 85, 128, 255])

    deep = (grey.astype(np.uint16) * 1000).astype(">u2")
    path = write(png(8, 8, 16, 0, deep.tobytes(), (b"tRNS", struct.pack(">H", 9000))))
    picture = read_picture(path, 8)
    expected = np.where(grey == 9, 128, np.round(deep / 257))
    np.testing.assert_array_equal(picture.pixels[:, :, 0], expected)
    assert picture.remarks == {Remark.ALPHA}

    rgb = colourful(8, 8)
    key = tuple(int(v) for v in rgb[2, 5])
    expected_rgb = rgb.copy()
    expected_rgb[2, 5] = 128
    path = write(png(8, 8, 8, 2, rgb.tobytes(), (b"tRNS", struct.pack(">3H", *key))))
    np.testing.assert_array_equal(read_picture(path, 8).pixels, expected_rgb)
    path = write(
        png(
            8,
            8,
            16,
            2,
            (rgb.astype(">u2") * 257).tobytes(),
            (b"tRNS", struct.pack(">3H", *(257 * v for v in key))),
        )
    )
    np.testing.assert_array_equal(read_picture(path, 8).pixels, expected_rgb)

    # A colour that no pixel has makes nothing transparent.
    path = write(png(8, 8, 8, 0, grey.tobytes(), (b"tRNS", struct.pack(">H", 200))))
    assert read_picture(path, 8).remarks == frozenset()


def test_cmyk_and_ycck_jpegs(write: Write) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:] = (200, 30, 90, 40)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in data
    expected = [(255 - ink) * (255 - 40) / 255 for ink in (200, 30, 90)]
    assert np.abs(read_picture(write(data, "a.jpg"), 16).pixels - np.array(expected)).max() <= 3

    # YCCK: the first three inks, as if they were RGB, in YCbCr; Adobe's segment names this transform 2.
    cyan, magenta, yellow = 200.0, 30.0, 90.0
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    # The last ink is stored complemented. Pillow complements all that it writes, so it is given 255 - value.
    values = (luma, 128 + 0.564 * (yellow - luma), 128 + 0.713 * (cyan - luma), 255 - 40)
    stored = np.zeros((16, 16, 4), np.uint8)
    stored[:] = [255 - round(value) for value in values]
    ycck = bytearray(encoded(Image.fromarray(stored, "CMYK"), "JPEG", quality=100))
    segment = ycck.index(b"Adobe")
    assert ycck[segment + 11] == 0
    ycck[segment + 11] = 2
    pixels = read_picture(write(bytes(ycck), "b.jpg"), 16).pixels
    assert np.abs(pixels - np.array(expected)).max() <= 4


def test_grey_and_progressive_jpegs(write: Write) -> None:
    grey = smooth(24, 24)[:, :, 0]
    picture = read_picture(write(encoded(Image.fromarray(grey), "JPEG", quality=98)), 24)
    assert np.abs(picture.pixels - grey[:, :, None].astype(int)).max() <= 4
    assert (np.ptp(picture.pixels, axis=2) == 0).all()
    data = encoded(Image.fromarray(smooth(24, 24)), "JPEG", quality=98, progressive=True)
    assert np.abs(read_picture(write(data), 24).pixels.astype(int) - smooth(24, 24)).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(write: Write, orientation: int) -> None:
    upright = smooth(24, 16)
    upright[:6, :5] = (255, 0, 0)
    undone = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    stored = Image.fromarray(np.ascontiguousarray(undone(upright)))
    fine = {"quality": 98, "subsampling": 0}
    for order in "<>":
        tag = exif(orientation, order)
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", fine)):
            path = write(encoded(stored, kind, exif=tag, **options))
            picture = read_picture(path, 16)
            tolerance = 25 if kind == "JPEG" else 0
            assert np.abs(picture.pixels.astype(int) - upright[:, 4:20]).max() <= tolerance
            assert picture.remarks == {Remark.NOT_SQUARE}
            with Image.open(path) as image:
                assert image.getexif()[0x0112] == orientation


@pytest.mark.parametrize(
    "tag",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif(6)[:-9],
        exif(0),
        exif(9),
        exif(65535),
        b"Exif\0\0" + bytes(200),
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 100,
    ],
)
def test_broken_exif_is_ignored(write: Write, tag: bytes) -> None:
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98})):
        picture = read_picture(write(encoded(Image.fromarray(smooth(16, 16)), kind, exif=tag, **options)), 16)
        assert np.abs(picture.pixels.astype(int) - smooth(16, 16)).max() <= 6


def test_the_first_frame_of_an_animation(write: Write) -> None:
    first, second = colourful(seed=1), colourful(seed=2)
    options = {"save_all": True, "append_images": [Image.fromarray(second)], "duration": 40}
    for kind, extra in (("PNG", {}), ("WEBP", {"lossless": True})):
        picture = read_picture(write(encoded(Image.fromarray(first), kind, **options, **extra)), 16)
        np.testing.assert_array_equal(picture.pixels, first)
        assert picture.remarks == {Remark.ANIMATION}

    # A still in an animation's clothes.
    data = encoded(Image.fromarray(first), "PNG")
    still = data[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + data[33:]
    assert read_picture(write(still), 16).remarks == frozenset()


def test_the_centre_square_of_other_shapes(write: Write) -> None:
    wide = colourful(21, 16)
    picture = read_picture(write(encoded(Image.fromarray(wide), "PNG")), 16)
    np.testing.assert_array_equal(picture.pixels, wide[:, 2:18])
    assert picture.remarks == {Remark.NOT_SQUARE}
    assert picture.source_size == (21, 16)
    tall = colourful(16, 30)
    picture = read_picture(write(encoded(Image.fromarray(tall), "PNG")), 16)
    np.testing.assert_array_equal(picture.pixels, tall[7:23])


def test_scaling_up_and_down(write: Write) -> None:
    big = smooth(128, 128)
    picture = read_picture(write(encoded(Image.fromarray(big), "PNG")), 32)
    area = big.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(picture.pixels - area).max() < 2.5
    assert picture.remarks == frozenset()

    # Stripes finer than the outcome become grey and no moire.
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = read_picture(write(encoded(Image.fromarray(stripes), "PNG")), 16)
    assert np.abs(picture.pixels.astype(int) - 127).max() <= 4

    small = smooth(8, 8)
    picture = read_picture(write(encoded(Image.fromarray(small), "PNG")), 16)
    expected = Image.fromarray(small).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
    assert picture.remarks == {Remark.ENLARGED}
    assert read_picture(write(encoded(Image.fromarray(small[:1, :1]), "PNG")), 16).pixels.shape == (16, 16, 3)


def test_large_jpegs_are_decoded_at_a_reduced_size(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(encoded(Image.fromarray(smooth(1000, 800)), "JPEG", quality=95), "a.jpg")
    sizes = []
    load = PngImagePlugin.ImageFile.ImageFile.load
    monkeypatch.setattr(
        PngImagePlugin.ImageFile.ImageFile, "load", lambda image: sizes.append(image.size) or load(image)
    )
    picture = read_picture(path, 32)
    assert min(sizes[0]) == 100
    assert picture.source_size == (1000, 800)
    expected = smooth(1000, 800)[:, 100:900].reshape(32, 25, 32, 25, 3).mean(axis=(1, 3))
    assert np.abs(picture.pixels - expected).max() < 4


def test_interlaced_png(write: Write) -> None:
    # All seven passes of a 5 x 5 picture, each of its own grey.
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    pixels = colourful(5, 5, 1)[:, :, 0]
    body = b""
    for left, top, across, down in adam7:
        for row in pixels[top::down, left::across]:
            if len(row):
                body += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", 5, 5, 8, 0, 0, 0, 1)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b""))
    path = write(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    np.testing.assert_array_equal(read_picture(path, 5).pixels[:, :, 0], pixels)


def test_a_colour_profile_is_converted(write: Write) -> None:
    profile = adobe_rgb_profile()
    pixels = (64 + colourful() // 2).astype(np.uint8)
    expected = adobe_to_srgb(pixels)
    assert np.abs(expected - pixels).max() > 15
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        path = write(encoded(Image.fromarray(pixels), kind, icc_profile=profile, **options))
        picture = read_picture(path, 16)
        assert np.abs(picture.pixels - expected).max() <= 2
        assert picture.remarks == {Remark.PROFILE}

    flat = np.full((16, 16, 3), (90, 180, 60), np.uint8)
    data = encoded(Image.fromarray(flat), "JPEG", quality=98, icc_profile=profile)
    assert np.abs(read_picture(write(data), 16).pixels - adobe_to_srgb(flat)).max() <= 4

    # A grey picture with the profile of a colour one.
    grey = np.full((16, 16), 60, np.uint8)
    picture = read_picture(write(encoded(Image.fromarray(grey), "PNG", icc_profile=profile)), 16)
    assert np.abs(picture.pixels - adobe_to_srgb(np.full((16, 16, 3), 60, np.uint8))).max() <= 2


def test_profiles_of_grey_and_cmyk(write: Write) -> None:
    grey = np.full((16, 16), 100, np.uint8)
    profile = icc_profile(b"GRAY", {b"kTRC": gamma_curve(1.0)})
    picture = read_picture(write(encoded(Image.fromarray(grey), "PNG", icc_profile=profile)), 16)
    linear = 100 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(picture.pixels - expected).max() <= 2
    assert picture.remarks == {Remark.PROFILE}

    # This profile lets cyan darken and all other inks do nothing; without it they would darken too.
    inks = np.full((16, 16, 4), (0, 255, 255, 255), np.uint8)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, icc_profile=cmyk_profile())
    assert read_picture(write(data), 16).pixels.min() >= 250
    inks = np.full((16, 16, 4), (255, 0, 0, 0), np.uint8)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, icc_profile=cmyk_profile())
    assert read_picture(write(data), 16).pixels.max() <= 5


def test_srgb_by_any_name_changes_nothing(write: Write) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = colourful()
    picture = read_picture(write(encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)), 16)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.remarks == frozenset()


def test_an_unusable_profile_is_ignored(write: Write) -> None:
    good = adobe_rgb_profile()
    pixels = colourful()
    broken = [b"x", b"not a profile at all", good[:60], good[:200], bytes(len(good)), cmyk_profile()]
    for profile in broken:
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
            path = write(encoded(Image.fromarray(pixels), kind, icc_profile=profile, **options))
            np.testing.assert_array_equal(read_picture(path, 16).pixels, pixels)
    data = encoded(Image.fromarray(pixels), "PNG")
    for body in (b"", b"name", b"name\0", b"name\0\x01xx", b"name\0\0nozlib"):
        path = write(data[:33] + chunk(b"iCCP", body) + data[33:])
        np.testing.assert_array_equal(read_picture(path, 16).pixels, pixels)


def test_text_and_profile_bombs_do_no_harm(write: Write) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    pixels = colourful()
    data = encoded(Image.fromarray(pixels), "PNG")
    for kind, head in ((b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\x01\0\0\0"), (b"iCCP", b"icc\0\0")):
        path = write(data[:33] + chunk(kind, head + bomb) + data[33:])
        np.testing.assert_array_equal(read_picture(path, 16).pixels, pixels)


def reason(path: Path, size: int = 16) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        read_picture(path, size)
    error = caught.value
    assert isinstance(error, LossariumError)
    assert str(error) == f"The picture {path} {error.reason}."
    assert error.path == path
    assert "\n" not in str(error)
    return error.reason


def test_files_that_hold_no_picture(write: Write, tmp_path: Path) -> None:
    assert reason(write(b"")) == "is empty (0 bytes)"
    assert reason(write(b"just words\n")) == "holds no picture although its name ends in .png"
    assert reason(write(b"just words\n", "readme")) == "holds no picture"
    assert reason(tmp_path / "gone.png") == "does not exist"
    assert reason(tmp_path) == "is not a regular file"
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "is not a regular file"

    image = Image.fromarray(colourful())
    for kind, name in (
        ("GIF", "a GIF"),
        ("TIFF", "a TIFF"),
        ("BMP", "a BMP"),
        ("EPS", "a PostScript document"),
    ):
        assert reason(write(encoded(image, kind))) == f"is {name}; only JPEG, PNG and WebP are read"
    assert reason(write(b"<!DOCTYPE html><p>404")) == "is a web page; only JPEG, PNG and WebP are read"
    assert "Git LFS pointer" in reason(write(b"version https://git-lfs.github.com/spec/v1\n"))


def test_a_file_too_large_to_be_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        # Sparse: it takes no room on disk.
        file.truncate(MAX_FILE_BYTES + 1)
    assert reason(path) == "takes 513 MiB; at most 512 MiB are read"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cut_off_files(write: Write, kind: str) -> None:
    data = encoded(Image.fromarray(colourful(64, 64)), kind)
    for kept in (20, 40, len(data) // 3, len(data) // 2, len(data) * 9 // 10, len(data) - 40):
        assert reason(write(data[:kept])) == "ends early: its picture data is cut off", kept


def test_damage(write: Write) -> None:
    rows = colourful(8, 8).tobytes()
    short = png(8, 8, 8, 2, rows).replace(struct.pack(">II", 8, 8), struct.pack(">II", 8, 9))
    assert reason(write(short)) == "is damaged: the checksum of its IHDR data is wrong"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    end = chunk(b"IEND", b"")
    start = b"\x89PNG\r\n\x1a\n" + header
    few = start + chunk(b"IDAT", zlib.compress(bytes(100))) + end
    assert reason(write(few)) == "is damaged: it holds fewer pixels than its header says"
    assert "cannot be decompressed" in reason(write(start + chunk(b"IDAT", b"garbage" * 9) + end))
    assert "no palette" in reason(write(png(8, 8, 8, 3, bytes(64))))
    assert "format that does not exist" in reason(write(png(8, 8, 7, 2, bytes(64))))
    assert "format that does not exist" in reason(write(png(8, 8, 8, 5, bytes(64))))
    unfilterable = chunk(b"IDAT", zlib.compress(b"\x09" * (8 * 25)))
    assert "PNG data cannot be decoded" in reason(write(start + unfilterable + end))

    jpeg = encoded(Image.fromarray(colourful()), "JPEG")
    assert reason(write(jpeg[:2] + b"\xff\xd9")) == "ends early: its picture data is cut off"
    assert reason(write(jpeg[:2] + b"\xff\xd9\0\0")) == "is damaged: it holds no picture data"
    twelve_bits = jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    assert reason(write(twelve_bits)) == "is a JPEG of 12 bits; only JPEGs of 8 bits are read"


def png_header_alone(width: int, height: int) -> bytes:
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(bytes(1000))),
            chunk(b"IEND", b""),
        )
    )


def test_bombs_are_refused_by_their_size(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pixels(*_: object) -> None:
        pytest.fail("pixel memory was asked for")

    monkeypatch.setattr(Image.core, "new", no_pixels)
    monkeypatch.setattr(Image.core, "fill", no_pixels)
    expected = "is 30000 x 30000 pixels; at most 100 million pixels are read"
    assert reason(write(png_header_alone(30_000, 30_000))) == expected
    assert "is 10001 x 10000 pixels" in reason(write(png_header_alone(10_001, 10_000)))
    assert "4294967295 x 4294967295" in reason(write(png_header_alone(2**32 - 1, 2**32 - 1)))
    assert "header says 0 x 5" in reason(write(png_header_alone(0, 5)))

    jpeg = encoded_jpeg_of(30_000, 30_000)
    assert reason(write(jpeg)) == expected
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (29_999).to_bytes(3, "little") * 2
    webp = b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended
    assert reason(write(webp)) == expected
    lossless = (
        b"VP8L" + struct.pack("<I", 5) + b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little") + b"\0"
    )
    webp = b"RIFF" + struct.pack("<I", len(lossless) + 4) + b"WEBP" + lossless
    assert "is 16383 x 16383 pixels" in reason(write(webp))
    lossy = b"VP8 " + struct.pack("<I", 10) + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383)
    webp = b"RIFF" + struct.pack("<I", len(lossy) + 4) + b"WEBP" + lossy
    assert "is 16383 x 16383 pixels" in reason(write(webp))


def encoded_jpeg_of(width: int, height: int) -> bytes:
    # Built outside of the size that Pillow would allocate: the header is patched.
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return (
        b"\xff\xd8\xff\xc0"
        + struct.pack(">H", 2 + len(frame))
        + frame
        + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    )


def test_pillows_global_settings_are_left_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    # A limit that would make Image.open warn or raise for any picture.
    path = write(encoded(Image.fromarray(colourful()), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    np.testing.assert_array_equal(read_picture(path, 16).pixels, colourful())
    assert Image.MAX_IMAGE_PIXELS == 4
    assert not PngImagePlugin.ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_read_the_same(write: Write) -> None:
    profile = adobe_rgb_profile()
    paths = [
        write(encoded(Image.fromarray(colourful(40, 30, seed=i)), "PNG", icc_profile=profile), f"{i}.png")
        for i in range(24)
    ]
    alone = [read_picture(path, 16).pixels for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_picture(path, 16).pixels, paths))
    np.testing.assert_array_equal(alone, together)


def test_awkward_names_stay_on_one_line(write: Write) -> None:
    with pytest.raises(UnreadablePicture) as caught:
        read_picture(write(b"", "line\nbreak\x1b[31m.png"), 16)
    assert "line\\nbreak\\x1b[31m.png is empty" in str(caught.value)


def test_a_face_mask_is_the_raw_first_channel(write: Write) -> None:
    channels = colourful(16, 16, 4)
    path = write(encoded(Image.fromarray(channels), "PNG"))
    np.testing.assert_array_equal(read_face_mask(path, 16, source_size=16), channels[:, :, 0])
    halved = read_face_mask(path, 8, source_size=16)
    expected = channels[:, :, 0].reshape(8, 2, 8, 2).mean(axis=(1, 3))
    assert np.abs(halved - expected).max() <= 1

    for data, complaint in (
        (encoded(Image.fromarray(channels[:, :, 0]), "PNG"), "is grey"),
        (encoded(Image.fromarray(channels[:8, :8]), "PNG"), "is 8 x 8 pixels, but its frame is 16 x 16"),
        (encoded(Image.fromarray(channels), "WEBP"), "is not the PNG"),
        (b"", "is empty"),
    ):
        with pytest.raises(UnreadablePicture, match=complaint):
            read_face_mask(write(data), 16, source_size=16)


def hostile_fixtures() -> dict[str, bytes]:
    rgb, rgba = Image.fromarray(colourful(20, 12)), Image.fromarray(colourful(20, 12, 4))
    more = {"save_all": True, "append_images": [Image.fromarray(colourful(20, 12, seed=3))]}
    profile = adobe_rgb_profile()
    indices = bytes(i % 7 for i in range(64))
    return {
        "rgb.png": encoded(rgb, "PNG", icc_profile=profile, exif=exif(6)),
        "rgba.png": encoded(rgba, "PNG"),
        "palette.png": png(8, 8, 8, 3, indices, (b"PLTE", bytes(range(21))), (b"tRNS", b"\0\x80")),
        "deep.png": png(4, 8, 16, 0, bytes(range(64)), (b"tRNS", b"\0\1")),
        "animated.png": encoded(rgb, "PNG", **more),
        "rgb.jpg": encoded(rgb, "JPEG", icc_profile=profile, exif=exif(8)),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG", icc_profile=cmyk_profile()),
        "lossy.webp": encoded(rgba, "WEBP", icc_profile=profile, exif=exif(5)),
        "lossless.webp": encoded(rgb, "WEBP", lossless=True),
        "animated.webp": encoded(rgb, "WEBP", **more),
    }


@pytest.mark.parametrize("name", sorted(hostile_fixtures()))
def test_hostile_bytes_end_in_a_picture_or_a_sentence(
    write: Write, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    original = hostile_fixtures()[name]
    random = np.random.default_rng(list(name.encode()))
    outcomes = {"picture": 0, "sentence": 0}
    sentences: set[str] = set()
    for trial in range(160):
        data = bytearray(original)
        if trial % 4 == 0:
            del data[int(random.integers(len(data))) :]
        else:
            # Half of all blows fall on the headers, where the parsers are.
            reach = len(data) if trial % 4 == 1 else min(len(data), 200)
            for position in random.integers(0, reach, size=int(random.integers(1, 5))):
                data[position] = random.integers(256)
        if name.endswith(".png") and trial % 2:
            data = bytearray(with_mended_checksums(bytes(data)))
        try:
            picture = read_picture(write(bytes(data), name), 16)
        except UnreadablePicture as error:
            outcomes["sentence"] += 1
            sentences.add(str(error))
        else:
            outcomes["picture"] += 1
            assert picture.pixels.shape == (16, 16, 3)
    assert min(outcomes.values()) > 0, outcomes
    assert all(sentence.endswith(".") and sentence.isprintable() for sentence in sentences)
    assert capfd.readouterr() == ("", "")


def with_mended_checksums(data: bytes) -> bytes:
    """Lets damage in a PNG reach further than its checksums."""
    repaired, offset = bytearray(data), 8
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        end = offset + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", repaired, end, zlib.crc32(data[offset + 4 : end]))
        offset = end + 4
    return bytes(repaired)


def test_warnings_would_fail_these_tests() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("as pyproject.toml has it", UserWarning, stacklevel=1)
