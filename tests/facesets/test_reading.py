"""Reading a picture: the pixels, every refusal, and hostile bytes."""

import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from lossarium.facesets.reading import (
    MAX_FILE_BYTES,
    Remark,
    UnreadablePicture,
    read_face_mask,
    read_picture,
)
from tests.facesets.handmade_pictures import (
    Write,
    adobe_rgb_profile,
    chunk,
    cmyk_profile,
    colourful,
    encoded,
    exif,
    on_grey,
    png,
    reason,
    smooth,
)


def test_a_picture_of_the_wanted_size_keeps_every_bit(write: Write) -> None:
    pixels = colourful()
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        picture = read_picture(write(encoded(Image.fromarray(pixels), kind, **options)), 16)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.pixels.dtype == np.uint8
        assert picture.remarks == frozenset()
        assert picture.source_size == (16, 16)
        assert picture.pixels.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a"])
def test_the_content_tells_the_format_and_not_the_name(write: Write, kind: str, name: str) -> None:
    picture = read_picture(write(encoded(Image.fromarray(smooth(16, 16)), kind), name), 16)
    assert np.abs(picture.pixels.astype(int) - smooth(16, 16)).mean() < 6


def test_alpha_is_composited_on_mid_grey(write: Write) -> None:
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


def test_the_first_frame_of_an_animation(write: Write) -> None:
    first, second = colourful(seed=1), colourful(seed=2)
    options = {"save_all": True, "append_images": [Image.fromarray(second)], "duration": 40}
    for kind, extra in (("PNG", {}), ("WEBP", {"lossless": True})):
        picture = read_picture(write(encoded(Image.fromarray(first), kind, **options, **extra)), 16)
        np.testing.assert_array_equal(picture.pixels, first)
        assert picture.remarks == {Remark.ANIMATION}

    # A still picture in an animation's container.
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
        # Sparse: it takes no disk space.
        file.truncate(MAX_FILE_BYTES + 1)
    assert reason(path) == "takes 513 MiB; at most 512 MiB are read"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cut_off_files(write: Write, kind: str) -> None:
    data = encoded(Image.fromarray(colourful(64, 64)), kind)
    for kept in (20, 40, len(data) // 3, len(data) // 2, len(data) * 9 // 10, len(data) - 40):
        assert reason(write(data[:kept])) == "ends early: its picture data is cut off", kept


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
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


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
            # Half of all changes are made to the headers, which parsers read.
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
