"""Colour profiles: converted if they matter, ignored if they are broken."""

import numpy as np
from PIL import Image, ImageCms

from lossarium.facesets.reading import read_picture
from lossarium.facesets.remarks import Remark
from tests.facesets.handmade_pictures import (
    Write,
    adobe_rgb_profile,
    adobe_to_srgb,
    chunk,
    cmyk_profile,
    colourful,
    encoded,
    gamma_curve,
    icc_profile,
)


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
