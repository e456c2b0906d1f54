"""The sample of held-out frames that evaluations during training judge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lossarium.facesets.split import spread_out
from lossarium.judging.held_out import blocks_of, directions, score
from lossarium.judging.judges import judge
from lossarium.judging.sample import equal_shares, judged, sample_of, spread_places
from lossarium.models.registry import initial_model
from lossarium.training.records import sampled_scores
from tests.facesets.examples import blobs

JUDGES = (judge("psnr"), judge("mae"))


def pair(*frames: int, states: bool = False):
    """Facesets of so many frames, split as plain folders are."""
    found = []
    for number, count in enumerate(frames):
        faceset = blobs(f"face {number}", frames=count, seed=number, states=states)
        split = spread_out(faceset.frame_names)
        found.append(replace(faceset, held_out=split.held_out, left_out=split.left_out))
    return directions(*found)


class Brighter(nn.Module):
    """Every identity's pictures a little brighter, so that each frame has a score of its own."""

    def forward(self, pictures, identities):
        return pictures + torch.tensor([0.1, 0.2])[torch.as_tensor(identities)].view(-1, 1, 1, 1, 1)


def test_with_few_frames_everything_is_judged_every_time():
    few = pair(100, 60)
    sample = sample_of(few, 32)
    assert sample.sampled is few
    for everything in (False, True):
        row = judged(Brighter(), sample, JUDGES, everything=everything)
        assert row == {"held_out": score(Brighter(), few, JUDGES)}


@pytest.mark.parametrize("most", [2, 3, 17, 40, 79])
def test_a_sample_is_spread_over_blocks_and_identities(most):
    both = pair(300, 200)
    sample = sample_of(both, most)
    sizes = [len(direction.frames) for direction in sample.sampled]
    assert sum(sizes) == most
    assert abs(sizes[0] - sizes[1]) <= 1
    for direction, whole in zip(sample.sampled, both, strict=True):
        _, of_each = np.unique(direction.blocks, return_counts=True)
        blocks = len(set(whole.blocks))
        assert len(of_each) == min(len(direction.frames), blocks)
        assert of_each.max() <= -(-len(direction.frames) // blocks)
        # If there are fewer frames than blocks, these are of blocks from all over the sequence.
        numbers = [int(label.split()[-1]) for label in dict.fromkeys(direction.blocks)]
        assert max(np.diff([0, *numbers, blocks + 1])) <= -(-blocks // len(numbers)) + 1


def test_where_one_identity_has_few_frames_the_other_has_the_rest():
    sample = sample_of(pair(300, 20), 40)
    assert [len(direction.frames) for direction in sample.sampled] == [36, 4]


def test_sample_and_rest_are_all_frames_in_order():
    both = pair(120, 100, states=True)
    sample = sample_of(both, 15)
    total = sum(len(direction.frames) for direction in both)
    places = sample.places["reconstruction"]
    assert places == sorted(set(places))
    assert len(places) == 15
    names = [(number, name) for number, d in enumerate(both) for name in d.frame_names]
    sampled = [(number, name) for number, d in enumerate(sample.sampled) for name in d.frame_names]
    rest = [(number, name) for number, d in enumerate(sample.rest) for name in d.frame_names]
    assert [names[place] for place in places] == sampled
    assert [names[place] for place in range(total) if place not in places] == rest
    assert len(sample.places["swap"]) == sum(len(direction.known) for direction in sample.sampled) > 0
    everywhere = blocks_of(both)["swap"][sample.places["swap"]]
    assert len(everywhere) == len(blocks_of(sample.sampled)["swap"])


@pytest.mark.parametrize("states", [False, True])
def test_the_sample_has_the_same_bits_whether_or_not_the_rest_is_judged_too(states):
    both = pair(500, 400, states=states)
    model = initial_model("compact", size=32, identities=2, seed=0)
    sample = sample_of(both, 30)
    looks = judged(model, sample, JUDGES, everything=False)
    whole = judged(model, sample, JUDGES, everything=True)
    assert looks["judged"] == "sample"
    assert whole["judged"] == "all"
    assert looks["sample"] == whole["sample"]
    assert sampled_scores(looks) == looks["held_out"] == sampled_scores(whole)
    assert {len(looks["held_out"][f"reconstruction/{name}"]) for name in ("psnr", "mae")} == {30}
    # The others are those of a single pass, but for the batches in which the network sees the frames.
    expected = score(model, both, JUDGES)
    assert whole["held_out"].keys() == expected.keys()
    for key, values in expected.items():
        assert whole["held_out"][key] == pytest.approx(values, rel=1e-4)


def test_all_values_are_where_a_single_pass_has_them():
    both = pair(300, 200, states=True)
    row = judged(Brighter(), sample_of(both, 33), JUDGES, everything=True)
    # This model looks at each frame alone, so that batches make no difference.
    assert row["held_out"] == score(Brighter(), both, JUDGES)


def test_the_same_facesets_have_the_same_sample():
    one, other = (sample_of(pair(300, 200), 50) for _ in range(2))
    assert one.places == other.places
    assert [d.frame_names for d in one.sampled] == [d.frame_names for d in other.sampled]


def test_shares_are_as_equal_as_there_is_room():
    for sizes, count, shares in [
        ([5, 5], 4, [2, 2]),
        ([1, 9, 9], 11, [1, 5, 5]),
        ([2, 3], 9, [2, 3]),
        ([0, 4], 3, [0, 3]),
        ([3], 0, [0]),
        ([], 5, []),
    ]:
        assert equal_shares(sizes, count).tolist() == shares
    for count in range(60):
        shares = equal_shares([20, 3, 7, 30], count)
        assert shares.sum() == count
        assert all(share <= size for share, size in zip(shares, [20, 3, 7, 30], strict=True))


def test_places_within_a_block_are_evenly_spaced():
    blocks = np.repeat([0, 1, 2], [10, 10, 10])
    assert spread_places(blocks, 6).tolist() == [2, 7, 12, 17, 22, 27]
    assert spread_places(blocks, 1).tolist() == [15]
    assert spread_places(blocks, 99).tolist() == list(range(30))
