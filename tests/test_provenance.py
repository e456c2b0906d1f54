"""The provenance mark in PNG and JPEG."""

import hashlib
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lossarium.provenance import DIGITAL_SOURCE_TYPE, encoded, encoded_animation, trial_digest, xmp_packet
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


def test_an_animation_is_marked_and_plays(tmp_path):
    path = tmp_path / "animation.webp"
    frames = [PIXELS, np.roll(PIXELS, 3, axis=0), 255 - PIXELS]
    path.write_bytes(encoded_animation(frames, [100, 100, 3000], xmp_packet(DIGEST)))
    assert mark_of(path) == (DIGITAL_SOURCE_TYPE, DIGEST)
    with Image.open(path) as image:
        assert (image.n_frames, image.size) == (3, (14, 9))
        assert image.info["loop"] == 0
        durations = []
        for place in range(3):
            image.seek(place)
            image.load()
            durations.append(image.info["duration"])
        assert durations == [100, 100, 3000]


def test_a_digest_is_of_the_table_and_the_weights():
    digests = {
        trial_digest(b"a", "b"),
        trial_digest(b"a", ""),
        trial_digest(b"ab", ""),
        trial_digest(b"", "ab"),
    }
    assert len(digests) == 4
    assert trial_digest(b"a", "b") == hashlib.sha256(b"a\0b").hexdigest()


def test_the_source_type_is_iptcs():
    assert DIGITAL_SOURCE_TYPE == ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")


def test_nothing_in_a_digest_can_break_the_packet():
    text = '</lossarium:Trial><x a="1">&'
    packet = ElementTree.fromstring(xmp_packet(text))
    assert next(packet.iter("{urn:lossarium:xmp:1:}Trial")).text == text
