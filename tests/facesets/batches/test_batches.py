"""Batches are a function of (seed, step), and every frame is used equally often."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lossarium.facesets.batches import augmentation
from lossarium.facesets.batches.amount import Augmentation
from lossarium.facesets.batches.augmentation import augment, draw
from lossarium.facesets.batches.batch import Batches, frame_order
from lossarium.facesets.randomness import Purpose, generator
from lossarium.facesets.regions.regions import Region, region
from tests.bounds import resampling_error
from tests.facesets.examples import blobs

# A tenth of an 8-bit level: what moving pictures of 32 pixels loses.
ROUNDED = resampling_error(32)
STILL = Augmentation(rotation=0, zoom=0, shift=0, flip=0, warp=0, brightness=0, contrast=0, tint=0)


def batches(seed=0, batch_size=4, augmentation=None, **options):
    pair = (blobs("ada"), blobs("ben", seed=5))
    return Batches(
        pair,
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation or Augmentation(),
        device=torch.device("cpu"),
        **options,
    )


def test_a_batch_depends_on_seed_and_step_alone():
    source = batches()
    forward = [source(step) for step in (1, 2, 3)]
    backward = [batches()(step) for step in (3, 2, 1)]
    for one, other in zip(forward, reversed(backward), strict=True):
        assert torch.equal(one.input, other.input)
        assert torch.equal(one.target, other.target)
    assert not torch.equal(forward[0].input, forward[1].input)
    assert not torch.equal(forward[0].input, batches(seed=1)(1).input)


def test_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = batches()(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(batches()(1).input, first.input)


def test_every_training_frame_comes_once_per_epoch_and_no_held_out_one_ever():
    faceset = blobs()
    count = int((~faceset.held_out).sum())
    order = frame_order(seed=3, identity=0, start=0, count=3 * count, frames=count)
    for part in np.split(order, 3):
        assert sorted(part) == list(range(count))
    assert not np.array_equal(order[:count], order[count : 2 * count])
    pieces = [frame_order(3, 0, start, 7, count) for start in range(0, 3 * count - 7, 7)]
    assert np.array_equal(np.concatenate(pieces), order[: 7 * len(pieces)])
    chosen = np.concatenate([batches()._chosen(0, step) for step in range(40)])
    assert set(chosen) == set(np.flatnonzero(~faceset.held_out))


def test_identities_are_shuffled_independently():
    assert not np.array_equal(frame_order(0, 0, 0, 15, 15), frame_order(0, 1, 0, 15, 15))


def test_without_augmentation_input_and_target_are_the_frames():
    source = batches(augmentation=STILL)
    batch = source(1)
    order = source.training[0][frame_order(0, 0, 4, 4, len(source.training[0]))]
    frames = torch.from_numpy(source.frames[0][order]).permute(0, 3, 1, 2).float() / 255
    assert torch.allclose(batch.target[0], frames, atol=ROUNDED)
    assert torch.allclose(batch.input[0], frames, atol=ROUNDED)


def _one(**amounts):
    """64 pictures, what `augment` makes of them, and the numbers that it was given."""
    frames = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    drawn = np.stack([draw(generator(0, Purpose.AUGMENTATION, 1, sample)) for sample in range(64)])
    drawn = torch.from_numpy(drawn).float()
    changed = {**vars(STILL), **amounts}
    return frames, *augment(frames, drawn, Augmentation(**changed)), drawn.view(64, -1, 1, 1, 1)


def test_flip_mirrors_the_pictures_that_were_drawn_and_both_of_a_pair():
    frames, input, target, drawn = _one(flip=0.5)
    mirrored = drawn[:, augmentation._MIRROR].abs() < 0.5
    assert 0 < mirrored.sum() < 64
    assert torch.allclose(target, torch.where(mirrored, frames.flip(3), frames), atol=ROUNDED)
    assert torch.allclose(input, target, atol=ROUNDED)


def test_warp_changes_the_input_and_not_the_target():
    frames, input, target, _ = _one(warp=0.03)
    assert torch.allclose(target, frames, atol=ROUNDED)
    assert ((input - frames).abs().amax(dim=(1, 2, 3)) > ROUNDED).all()


@pytest.mark.parametrize("option", ["brightness", "contrast", "tint"])
def test_colour_changes_both_alike_by_the_numbers_drawn(option):
    frames, input, target, drawn = _one(**{option: 0.2})
    middle = frames.mean(dim=(1, 2, 3), keepdim=True)
    expected = {
        "brightness": frames + 0.2 * drawn[:, augmentation._BRIGHTNESS],
        "contrast": middle + (1 + 0.2 * drawn[:, augmentation._CONTRAST]) * (frames - middle),
        "tint": frames * (1 + 0.2 * drawn[:, augmentation._TINT, 0]),
    }[option].clamp(0, 1)
    assert torch.allclose(target, expected, atol=ROUNDED)
    assert torch.allclose(input, target, atol=ROUNDED)


def test_a_turn_moves_both_alike_and_keeps_the_values_in_range():
    frames, input, target, _ = _one(rotation=20, zoom=0.1, shift=0.1)
    # They are sampled linearly and cubically, of noise, and yet closer to each other than to what they were.
    apart, moved = ((target - other).abs().mean(dim=(1, 2, 3)) for other in (input, frames))
    assert (apart < moved).all()
    assert target.min() >= 0
    assert target.max() <= 1


def test_streams_of_one_seed_differ_by_purpose_step_and_sample():
    drawn = {
        generator(seed, purpose, step, sample).random()
        for seed in (0, 1)
        for purpose in (Purpose.AUGMENTATION, Purpose.FRAME_ORDER)
        for step in (0, 1)
        for sample in (0, 1)
    }
    assert len(drawn) == 16


def test_kernels_give_the_same_batch_up_to_rounding():
    plain, fast = batches()(2), batches(kernels=True)(2)
    assert (plain.input - fast.input).abs().max() <= ROUNDED
    assert (plain.target - fast.target).abs().max() <= ROUNDED
    again = batches(kernels=True)
    again(7)
    assert torch.equal(again(2).input, fast.input)


def faces():
    return {"face": [region(faceset, "stored") for faceset in (blobs("ada"), blobs("ben", seed=5))]}


def test_a_batch_has_the_regions_that_are_asked_for():
    assert batches()(1).regions == {}
    assert list(batches(regions=faces())(1).regions) == ["face"]


def test_regions_come_along_with_their_frames():
    source = batches(augmentation=STILL, regions=faces())
    face = source(1).regions["face"]
    assert face.shape == (2, 4, 1, 32, 32)
    for identity, faceset in enumerate((blobs("ada"), blobs("ben", seed=5))):
        expected = torch.from_numpy(faceset.face_masks[source._chosen(identity, 1)]).float() / 255
        assert torch.allclose(face[identity, :, 0], expected, atol=ROUNDED)


def test_regions_turn_like_the_target_with_and_without_kernels():
    plain = batches(regions=faces())(3).regions["face"]
    assert torch.equal(plain, batches(regions=faces(), kernels=True)(3).regions["face"])
    assert not torch.allclose(plain, batches(augmentation=STILL, regions=faces())(3).regions["face"])


def test_regions_are_computed_independently():
    both = batches(regions={**faces(), "nothing": [nowhere()] * 2})(3).regions
    assert torch.equal(both["face"], batches(regions=faces())(3).regions["face"])
    assert both["nothing"].count_nonzero() == 0


def nowhere():
    return Region(lambda _: np.zeros((32, 32), np.uint8), len(blobs().frames), 32, keep=True)


def test_only_the_chosen_frames_of_a_mapped_file_are_read(tmp_path):
    whole = blobs()
    np.save(tmp_path / "frames.npy", whole.frames)

    class Counting(np.memmap):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    asked = []
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r").view(Counting)
    pair = [replace(whole, frames=mapped), blobs("ben", seed=5)]
    options = {"batch_size": 4, "seed": 0, "augmentation": Augmentation(), "device": torch.device("cpu")}
    source = Batches(pair, **options)
    assert torch.equal(source(1).input, Batches([whole, pair[1]], **options)(1).input)
    assert len(asked) == 4
    assert all(np.ndim(index) == 0 for index in asked)
