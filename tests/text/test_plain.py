"""Substitutes for characters that an encoding lacks."""

import pytest

from lossarium.text.plain import plain


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("±0.5 ↑ ⌂", "utf-8", "±0.5 ↑ ⌂"),
        ("±0.5 ↑ ⌂", "ascii", "+-0.5 ^ *"),
        ("±0.5 ↓", "cp1252", "±0.5 v"),
        ("a → b", "latin-1", "a -> b"),
        ("┏━┓ │", "ascii", "+-+ |"),
        ("\u24ff\u2500\u259f\u25a0", "ascii", r"\u24ff-+\u25a0"),
        ("\u27ff\u2800\u28ff\u2900", "ascii", r"\u27ff**\u2900"),
        ("⠋ ε Σ", "ascii", "* epsilon sum"),
        ("café-寿", "ascii", r"caf\xe9-\u5bff"),
        ("a\udcffb", "utf-8", r"a\udcffb"),
        ("naïve", None, r"na\xefve"),
        ("naïve", "no such encoding", r"na\xefve"),
    ],
)
def test_what_an_encoding_lacks_is_replaced_and_the_rest_stays(text, encoding, written):
    assert plain(text, encoding) == written
    assert plain(written, encoding) == written


def test_every_character_can_be_written():
    everything = "".join(map(chr, range(0x11000)))
    for encoding in ("ascii", "cp1252", "utf-8"):
        plain(everything, encoding).encode(encoding)
