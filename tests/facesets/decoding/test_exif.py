"""EXIF orientation, in every format."""

import numpy as np
import pytest
from PIL import Image

from lossarium.facesets.reading import read_picture
from lossarium.facesets.remarks import Remark
from tests.facesets.handmade_pictures import Write, encoded, exif, smooth


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
