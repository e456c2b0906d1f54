"""The mark in PNG and JPEG."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lossarium.swapping.provenance import DIGITAL_SOURCE_TYPE, encoded, xmp_packet
from tests.swapping.marks import mark_of

DIGEST = "ab" * 32
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".PNG", ".JPG"])
def test_every_format_is_marked_and_opens(tmp_path, ending):
    data = encoded(PIXELS, ending, xmp_packet(DIGEST))
    path = tmp_path / f"picture{ending.lower()}"
    path.write_bytes(data)
    assert mark_of(path) == (DIGITAL_SOURCE_TYPE, DIGEST)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (14, 9)
        assert image.format == ("PNG" if ending.lower() == ".png" else "JPEG")


def test_png_keeps_every_pixel():
    with Image.open(io.BytesIO(encoded(PIXELS, ".png", xmp_packet(DIGEST)))) as image:
        assert np.array_equal(np.asarray(image), PIXELS)


def test_the_source_type_is_iptcs():
    assert DIGITAL_SOURCE_TYPE == ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")


def test_nothing_in_a_digest_can_break_the_packet():
    text = '</lossarium:Trial><x a="1">&'
    packet = ElementTree.fromstring(xmp_packet(text))
    assert next(packet.iter("{urn:lossarium:xmp:1:}Trial")).text == text
