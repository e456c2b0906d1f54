"""Regions of frames: masks with dilation and blur."""

from dataclasses import replace

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.facesets.regions.landmark_masks import face_masks
from lossarium.facesets.regions.regions import Region, region
from tests.facesets.examples import blobs

TURN = np.linspace(0, 2 * np.pi, 68, endpoint=False)
RING = np.stack([16 + 9 * np.cos(TURN), 16 + 9 * np.sin(TURN)], axis=1).astype(np.float32)


def with_landmarks():
    faceset = blobs()
    shifts = np.arange(len(faceset.frames), dtype=np.float32)[:, None, None] / 8
    return replace(faceset, landmarks=RING[None] + shifts)


def test_masks_are_those_of_the_frames_asked_for():
    faceset = with_landmarks()
    chosen = np.array([3, 0, 3])
    expected = face_masks("mouth", faceset.landmarks[chosen], 32, dilation=1, blur=0.5)
    mouth = region(faceset, "mouth", dilation=1, blur=0.5)
    for _ in range(2):
        assert np.array_equal(mouth.masks(chosen), expected)


@pytest.mark.parametrize("keep", [True, False])
def test_masks_are_made_once_where_they_are_kept(keep):
    made = []

    def mask_of(frame):
        made.append(frame)
        return np.full((4, 4), frame, np.uint8)

    some = Region(mask_of, 8, 4, keep=keep)
    for _ in range(2):
        assert some.masks(np.array([2, 5, 7]))[:, 0, 0].tolist() == [2, 5, 7]
    assert made == ([2, 5, 7] if keep else [2, 5, 7] * 2)


def test_masks_of_mapped_frames_are_not_kept(tmp_path):
    faceset = with_landmarks()
    np.save(tmp_path / "frames.npy", faceset.frames)
    mapped = replace(faceset, frames=np.load(tmp_path / "frames.npy", mmap_mode="r"))
    first, second = region(faceset, "eyes"), region(mapped, "eyes")
    assert np.array_equal(first.masks(np.arange(8)), second.masks(np.arange(8)))
    assert second._masks is None


def test_missing_masks_and_landmarks_are_refused_with_a_remedy():
    faceset = replace(blobs(), face_masks=None)
    with pytest.raises(LossariumError, match=r"Not every picture of ada has a mask; .* extended"):
        region(faceset, "stored")
    with pytest.raises(LossariumError, match=r"extended is made from landmarks.*faceswap or DeepFaceLab"):
        region(faceset, "extended")
