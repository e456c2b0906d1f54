"""JPEG: every colour space, reduced decoding, damage."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFile

from lossarium.facesets.decoding import jpeg
from lossarium.facesets.reading import read_picture
from lossarium.facesets.remarks import Remark
from tests.facesets.handmade_pictures import Write, adobe_rgb_profile, colourful, encoded, reason, smooth


def test_jpeg_equals_pillows_own_decoding(write: Write) -> None:
    data = encoded(Image.fromarray(smooth(32, 32)), "JPEG", quality=95)
    picture = read_picture(write(data, "a.jpg"), 32)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert np.abs(picture.pixels.astype(int) - smooth(32, 32)).max() < 8


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


def test_large_jpegs_are_decoded_at_a_reduced_size(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(encoded(Image.fromarray(smooth(1000, 800)), "JPEG", quality=95), "a.jpg")
    sizes = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: sizes.append(image.size) or load(image))
    picture = read_picture(path, 32)
    assert min(sizes[0]) == 100
    assert picture.source_size == (1000, 800)
    expected = smooth(1000, 800)[:, 100:900].reshape(32, 25, 32, 25, 3).mean(axis=(1, 3))
    assert np.abs(picture.pixels - expected).max() < 4


def test_damage(write: Write) -> None:
    jpeg = encoded(Image.fromarray(colourful()), "JPEG")
    assert reason(write(jpeg[:2] + b"\xff\xd9")) == "ends early: its picture data is cut off"
    assert reason(write(jpeg[:2] + b"\xff\xd9\0\0")) == "is damaged: it holds no picture data"
    twelve_bits = jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    assert reason(write(twelve_bits)) == "is a JPEG of 12 bits; only JPEGs of 8 bits are read"


def with_profile_parts(jpeg: bytes, parts: list[bytes]) -> bytes:
    """Put an ICC profile in, its parts in reverse order."""
    segments = b""
    for number, part in reversed(list(enumerate(parts, 1))):
        body = b"ICC_PROFILE\0" + bytes((number % 256, len(parts) % 256)) + part
        segments += b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body
    return jpeg[:2] + segments + jpeg[2:]


def test_a_profile_in_parts(write: Write) -> None:
    jpeg = encoded(Image.fromarray(smooth(16, 16)), "JPEG", quality=95)
    profile = adobe_rgb_profile()
    whole = read_picture(write(with_profile_parts(jpeg, [profile])), 16)
    assert whole.remarks == {Remark.PROFILE}
    parts = [profile[:100], profile[100:200], profile[200:]]
    joined = read_picture(write(with_profile_parts(jpeg, parts)), 16)
    np.testing.assert_array_equal(joined.pixels, whole.pixels)

    # More parts than a byte can count.
    parts = [profile[i : i + 1] for i in range(300)]
    for damaged in (parts, parts[:256]):
        assert read_picture(write(with_profile_parts(jpeg, damaged)), 16).remarks == frozenset()


def test_millions_of_empty_segments_take_memory_by_their_size(write: Write) -> None:
    good = encoded(Image.fromarray(smooth(16, 16)), "JPEG")
    data = good[:2] + b"\xff\xe3\x00\x02" * 25_000 + b"\xff\xe0\x00\x02" * 25_000 + good[2:]
    path = write(data, "a.jpg")
    tracemalloc.start()
    try:
        read_picture(path, 16)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("unit", [b"\xff", b"\xff\x00", b"\xff\xd0", b"\x07", b"\xff\xff\x01"])
def test_fill_bytes_and_markers_without_a_segment_are_passed_over_in_one_search(
    write: Write, monkeypatch: pytest.MonkeyPatch, unit: bytes
) -> None:
    good = encoded(Image.fromarray(smooth(16, 16)), "JPEG")
    marker, searches = jpeg._MARKER, []

    class Counted:
        @staticmethod
        def search(data: bytes, offset: int) -> object:
            searches.append(offset)
            return marker.search(data, offset)

    monkeypatch.setattr(jpeg, "_MARKER", Counted)
    expected = read_picture(write(good, "a.jpg"), 16).pixels
    count = len(searches)
    # Before the second segment: a JPEG is known by its first three bytes.
    place = 4 + int.from_bytes(good[4:6], "big")
    filled = good[:place] + unit * 100_000 + good[place:]
    searches.clear()
    np.testing.assert_array_equal(read_picture(write(filled, "b.jpg"), 16).pixels, expected)
    assert len(searches) == count


def test_many_scans_over_the_same_pixels_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    good = encoded(Image.fromarray(smooth(64, 64)), "JPEG", progressive=True)
    monkeypatch.setattr(jpeg, "_MOST_SCANNED_PIXELS", 20 * 64 * 64)
    assert read_picture(write(good, "a.jpg"), 64).source_size == (64, 64)
    # What follows the picture's end, a second picture say, is not drawn.
    assert read_picture(write(good + good[2:] * 10, "a.jpg"), 64).source_size == (64, 64)
    last = good[good.rindex(b"\xff\xda") : -2]
    bad = write(good[:-2] + last * 50 + good[-2:], "a.jpg")
    scans = 50 + good.count(b"\xff\xda")
    assert reason(bad) == f"draws its 64 x 64 pixels {scans} times over; save it again"


def test_the_size_is_known_from_the_headers() -> None:
    data = encoded(Image.fromarray(smooth(24, 16)), "JPEG")
    assert jpeg.stored_size(data) == (24, 16)
