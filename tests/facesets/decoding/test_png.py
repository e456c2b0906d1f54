"""PNG: every colour type, depth and transparency, damage and bombs."""

import struct
import tracemalloc
import zlib

import numpy as np
from PIL import Image

from lossarium.facesets.decoding.png import stored_size
from lossarium.facesets.reading import read_picture
from lossarium.facesets.remarks import Remark
from tests.facesets.handmade_pictures import Write, chunk, colourful, encoded, on_grey, png, reason, smooth


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


def test_decompression_bombs_in_text_and_profiles_do_no_harm(write: Write) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    pixels = colourful()
    data = encoded(Image.fromarray(pixels), "PNG")
    for kind, head in ((b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\x01\0\0\0"), (b"iCCP", b"icc\0\0")):
        path = write(data[:33] + chunk(kind, head + bomb) + data[33:])
        np.testing.assert_array_equal(read_picture(path, 16).pixels, pixels)


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


def test_millions_of_tiny_chunks_take_memory_by_their_size(write: Write) -> None:
    whole = png(16, 16, 8, 2, smooth(16, 16).tobytes())
    start = whole.index(b"IDAT") - 4
    pixels = whole[start + 8 : -16]
    one_by_one = b"".join(chunk(b"IDAT", pixels[i : i + 1]) for i in range(len(pixels)))
    data = whole[:start] + chunk(b"IDAT", b"") * 30_000 + one_by_one + whole[-12:]
    path = write(data)
    tracemalloc.start()
    try:
        picture = read_picture(path, 16)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(picture.pixels, smooth(16, 16))


def test_the_size_is_known_from_the_header() -> None:
    assert stored_size(png(24, 16, 8, 2, bytes(24 * 16 * 3))) == (24, 16)
