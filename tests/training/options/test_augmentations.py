"""Augmentation as text."""

from dataclasses import replace

import pytest

from lossarium.errors import LossariumError
from lossarium.facesets.batches.amount import FACESWAP, Augmentation
from lossarium.training.options.augmentations import parse


def test_presets_are_read_with_changes():
    assert parse("default") == Augmentation()
    assert parse("faceswap") == FACESWAP
    assert parse("faceswap(flip=0, warp=.03)") == replace(FACESWAP, flip=0.0, warp=0.03)
    still = parse("none")
    assert all(getattr(still, name) == 0 for name in ("rotation", "zoom", "shift", "flip", "warp", "clahe"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("faceswp", "did you mean faceswap"),
        ("default(wrap=1)", 'no option "wrap", did you mean warp'),
        ("default(flip=2)", "flip is 2"),
        ("default(warp=a)", "warp is a number"),
    ],
)
def test_mistakes_are_named(text, reason):
    with pytest.raises(LossariumError, match=reason):
        parse(text)
