"""Scores of a model on held-out frames."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.judging import held_out
from lossarium.judging.artefacts.built_in import ARTEFACTS
from lossarium.judging.held_out import StoredPictures, as_bytes, as_tensor, blocks_of, directions, score
from lossarium.judging.judges import JUDGES, judge
from tests.bounds import rounding_error, sensitivity, summation_error, unit_roundoff
from tests.facesets.examples import blobs
from tests.losses.kernel_cases import LONGEST_CHAIN

# A mean over pixels: a kernel sums blocks of 256 errors in float32 and the blocks in float64; the error
# itself, its weight, the division and the last rounding are some four roundings more.
MEAN_ERROR = rounding_error(4, torch.float32) + summation_error(256, torch.float32)


class Perfect(nn.Module):
    """Gives back its input, whatever the identity: a perfect reconstruction, and no swap at all."""

    def forward(self, pictures, _identities):
        return pictures


def pair(states=True):
    return blobs("ada", states=states), blobs("ben", seed=5, states=states)


def test_a_perfect_reconstruction_has_perfect_scores():
    scores = score(Perfect(), directions(*pair()))
    assert set(scores["reconstruction/psnr"]) == {100.0}
    # Exactly: all are made of differences, of pixels or of features, and these are 0.
    assert scores["reconstruction/ssim"] == [1.0] * 10
    assert scores["reconstruction/mae"] == scores["reconstruction/lpips"] == [0.0] * 10


def test_a_swap_is_compared_with_the_other_identitys_frame_inside_the_face():
    first, second = pair()
    scores = score(Perfect(), directions(first, second))
    there, here = (as_tensor(faceset.frames[faceset.held_out]).double() for faceset in (second, first))
    face = as_tensor(second.face_masks[second.held_out][..., None]).double()
    expected = ((here - there).abs().mean(1, keepdim=True) * face).sum((1, 2, 3)) / face.sum((1, 2, 3))
    assert scores["swap/mae"][:5] == pytest.approx(expected.tolist(), rel=MEAN_ERROR)
    assert len(scores["swap/mae"]) == 10


def test_without_known_states_swaps_are_not_scored():
    scores = score(Perfect(), directions(*pair(states=False)))
    assert {key.split("/")[0] for key in scores} == {"reconstruction"}


def test_a_swap_whose_truth_was_trained_on_is_not_scored():
    first, second = pair()
    fewer = second.held_out.copy()
    fewer[np.flatnonzero(fewer)[0]] = False
    scores = score(Perfect(), directions(first, replace(second, held_out=fewer)))
    assert len(scores["swap/psnr"]) == 4 + 4
    assert len(scores["reconstruction/psnr"]) == 5 + 4


def test_without_masks_swaps_are_judged_whole():
    first, second = (replace(faceset, face_masks=None) for faceset in pair())
    scores = score(Perfect(), directions(first, second))
    there, here = (as_tensor(faceset.frames[faceset.held_out]).double() for faceset in (second, first))
    expected = (here - there).abs().mean((1, 2, 3))
    assert scores["swap/mae"][:5] == pytest.approx(expected.tolist(), rel=MEAN_ERROR)


def test_bytes_survive_the_conversion_to_tensors():
    frames = blobs().frames
    assert np.array_equal(as_bytes(as_tensor(frames)), frames)


def test_psnr_is_minus_ten_log_of_the_squared_error():
    truth = torch.zeros(1, 3, 32, 32)
    # All errors are equal, and so may be all roundings of their sum in blocks of 256. The logarithm makes a
    # relative error an absolute one, and the result is rounded twice.
    mean = rounding_error(256 + 4, torch.float32)
    allowed = 10 / math.log(10) * mean + 20 * rounding_error(2, torch.float32)
    assert judge("psnr").measure(truth + 0.1, truth, None).item() == pytest.approx(20, abs=allowed)


# VGG's weights are not bundled; noise is none of the artefacts.
LEFT_OUT = {"lpips_vgg", *(artefact.name for artefact in ARTEFACTS)}


@pytest.mark.parametrize("one", [one for one in JUDGES if one.name not in LEFT_OUT], ids=lambda one: one.name)
def test_every_judge_scores_the_worse_picture_worse(one):
    truth = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    near, far = (one.measure(truth + amount * noise, truth, None) for amount in (0.02, 0.2))
    assert ((near > far) if one.higher_is_better else (near < far)).all()
    assert near.shape == (2,)


def test_every_judge_of_a_measure_is_that_measure():
    prediction, truth = torch.rand(2, 1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    for one in JUDGES:
        if one.name in ("psnr", "lpips_vgg") or one.name not in losses.names():
            continue
        value = losses.info(one.name).function(prediction, truth, weight=weight)
        score = one.measure(prediction, truth, weight)
        assert torch.equal(score, (1 - value if one.higher_is_better else value)[None])


def test_every_judge_has_a_margin_that_its_digits_show():
    for one in JUDGES:
        assert one.margin >= 10**-one.digits


def test_lpips_of_vgg_asks_for_its_weights(monkeypatch):
    monkeypatch.delenv("LOSSARIUM_WEIGHTS", raising=False)
    picture = torch.zeros(1, 3, 40, 40)
    with pytest.raises(LossariumError, match="LOSSARIUM_WEIGHTS"):
        judge("lpips_vgg").measure(picture, picture, None)


def test_what_a_judge_names_is_found_in_the_terms_of_a_spec():
    specs = ("mse", "0.1*uqi + mae", "mdsi")
    named = {spec: {one.name for one in JUDGES if one.is_home_of(spec)} for spec in specs}
    assert named == {"mse": set(), "0.1*uqi + mae": {"mae", "ssim", "ms_ssim"}, "mdsi": {"gmsd", "mdsi"}}


def test_every_loss_has_a_home_judge_or_none_but_never_an_unknown_one():
    for one in JUDGES:
        assert one.home_of <= set(losses.names())


def test_scores_do_not_depend_on_the_chunk_size(monkeypatch):
    expected = score(Perfect(), directions(*pair()))
    monkeypatch.setattr(held_out, "_CHUNK", 2)
    scores = score(Perfect(), directions(*pair()))
    assert list(scores) == list(expected)
    # Kernels take every picture by itself. Convolutions may take fewer pictures another way: as far as the
    # features' roundings, measured in float64, move LPIPS.
    exactly = [key for key in scores if not key.endswith("/lpips")]
    assert {key: scores[key] for key in exactly} == {key: expected[key] for key in exactly}
    assert scores["reconstruction/lpips"] == expected["reconstruction/lpips"] == [0.0] * 10
    swaps = [
        (there.frames[there.known], there.exact_swaps[:], there.face[:]) for there in directions(*pair())
    ]
    exact, change = sensitivity(
        lambda *arguments: (losses.lpips(*arguments[:2], weight=arguments[2], reduction="none"),),
        *(torch.cat(pictures).double() for pictures in zip(*swaps, strict=True)),
    )
    found, before = (torch.tensor(of["swap/lpips"]) for of in (scores, expected))
    allowed = 2 * LONGEST_CHAIN * (unit_roundoff(torch.float32) * exact[0] + change[0])
    assert ((found - before).abs() <= allowed).all()


def test_stored_pictures_give_tensors_by_index():
    frames, places = blobs().frames, np.array([4, 1, 7])
    pictures = StoredPictures(frames, places)
    whole = as_tensor(frames[places])
    assert len(pictures) == 3
    assert torch.equal(pictures[1], whole[1])
    assert torch.equal(pictures[np.intp(2)], whole[2])
    assert torch.equal(pictures[1:], whole[1:])
    assert torch.equal(pictures[torch.tensor([2, 0])], whole[[2, 0]])
    assert pictures[:0].shape == (0, 3, 32, 32)
    masks = StoredPictures(blobs().face_masks, places)
    assert torch.equal(masks[:], as_tensor(blobs().face_masks[places][..., None]))


def test_pictures_of_one_state_are_one_block_whichever_identity_shows_it():
    # Held out are every fourth frame of 20, of which both identities show the same states.
    blocks = blocks_of(directions(*pair()))
    assert blocks["reconstruction"].tolist() == blocks["swap"].tolist()
    first, second = np.split(blocks["reconstruction"], 2)
    assert first.tolist() == second.tolist()
    assert sorted(first) == [0, 1, 2, 3, 4]


def test_without_states_consecutive_frames_of_an_identity_are_a_block_and_no_swap_has_one():
    plain = pair(states=False)
    blocks = blocks_of(directions(*plain))
    assert list(blocks) == ["reconstruction"]
    assert blocks["reconstruction"].tolist() == list(range(10))
    runs = tuple(replace(faceset, held_out=np.arange(20) // 2 % 4 == 1) for faceset in plain)
    blocks = blocks_of(directions(*runs))
    assert blocks["reconstruction"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_blocks_of_swaps_are_those_of_the_frames_whose_swap_is_known():
    first, second = pair()
    fewer = second.held_out.copy()
    fewer[np.flatnonzero(fewer)[0]] = False
    blocks = blocks_of(directions(first, replace(second, held_out=fewer)))
    assert len(blocks["reconstruction"]) == 5 + 4
    assert len(blocks["swap"]) == 4 + 4
    first_swaps, second_swaps = np.split(blocks["swap"], 2)
    assert first_swaps.tolist() == second_swaps.tolist()
