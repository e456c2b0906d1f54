"""Which pictures of a folder are not independent of each other."""

import numpy as np
import pytest

from lossarium.judging.picture_blocks import dependence, given_blocks, usual_blocks


def drifting(rho: float, pictures=600, seed=0):
    """(names, pictures) of scores that go from picture to picture with a correlation."""
    source = np.random.default_rng(seed)
    values = source.normal(size=(3, pictures))
    for place in range(1, pictures):
        values[:, place] = rho * values[:, place - 1] + np.sqrt(1 - rho**2) * values[:, place]
    return values


def test_a_few_pictures_are_a_block_each_and_nothing_is_assumed():
    blocks = usual_blocks([drifting(0, 7)])
    assert blocks.labels.tolist() == list(range(7))
    assert blocks.caveat is None


def test_independent_pictures_are_25_blocks_of_consecutive_ones():
    blocks = usual_blocks([drifting(0)])
    assert blocks.labels.tolist() == [place // 24 for place in range(600)]
    assert "600 pictures count as 25 blocks of 24" in str(blocks.caveat)
    assert dependence([drifting(0)], blocks.labels) is None


def test_frames_of_a_slow_video_are_fewer_and_longer_blocks():
    slow = drifting(0.99)
    blocks = usual_blocks([slow])
    assert blocks.count < 20
    assert (np.diff(blocks.labels) >= 0).all()
    every = np.arange(600)
    assert dependence([slow], every) == pytest.approx(0.99, abs=0.05)


def test_a_judge_with_infinity_tells_nothing_of_dependence():
    values = drifting(0.99)
    values[0, 3] = np.inf
    assert dependence([values], np.arange(600)) is None


def test_the_last_block_may_be_shorter_and_labels_are_numbered_as_they_appear(tmp_path):
    names = ["a", "deep/b.01", "e\u0301"]
    assert given_blocks("2", names).labels.tolist() == [0, 0, 1]
    file = tmp_path / "labels"
    file.write_text("\na night\n\u00e9 scene\n")
    assert given_blocks(str(file), ["a", "e\u0301"]).labels.tolist() == [0, 1]
    file.write_text("\ufeffname;clip\ndeep/b.01.png;2\na.jpeg;1\n\u00e9;2\n")
    assert given_blocks(str(file), names).labels.tolist() == [0, 1, 1]
