"""Rendered frames: labels that fit, exact swap pairs, and bit-identical repetition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lossarium.synthesis.baking import BakedIdentity
from lossarium.synthesis.head import HeadModel
from lossarium.synthesis.landmarks import LOWER_LIDS, UPPER_LIDS
from lossarium.synthesis.rendering import render_frame, similarity
from lossarium.synthesis.shape import expression_vertices
from lossarium.synthesis.states import FrameState, sample_state
from tests.bounds import rounding_error

Pair = tuple[BakedIdentity, BakedIdentity]
SIZE = 128
FACE, EYES, MOUTH, FOREGROUND = range(4)


def plain_state(**expression: float) -> FrameState:
    """A frontal face with open eyes."""
    crop = replace(sample_state(7, 0).crop, shift_right=0.0, shift_down=0.0, log_scale=0.0, roll=0.0)
    return replace(
        sample_state(7, 0),
        expression=expression,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        gaze_yaw=0.0,
        gaze_pitch=0.0,
        crop=crop,
    )


@pytest.mark.parametrize("frame", [0, 2, 10, 11])
def test_masks_and_landmarks_fit_each_other(head: HeadModel, pair: Pair, frame: int) -> None:
    for baked in pair:
        rendered = render_frame(head, baked, sample_state(7, frame), SIZE)
        masks = rendered.masks.astype(int)
        assert (masks[..., FOREGROUND] >= masks[..., FACE]).all()
        assert (masks[..., FACE] >= masks[..., EYES]).all()
        assert (masks[..., FACE] >= masks[..., MOUTH] - 1).all()
        assert 0.15 < (masks[..., FACE] > 127).mean() < 0.8

        # Jaw and nose may hide behind the cheek of a turned head; eyes and mouth lie on the face.
        near_face = ndimage.binary_dilation(masks[..., FACE] > 127, iterations=2)
        columns, rows = rendered.landmarks[36:].astype(int).clip(0, SIZE - 1).T
        assert near_face[rows, columns].all()
        row, column = np.nonzero(masks[..., MOUTH] > 127)
        centre = rendered.landmarks[48:60].mean(0)
        assert np.hypot(column.mean() + 0.5 - centre[0], row.mean() + 0.5 - centre[1]) < 6


def test_eye_mask_lies_within_the_eye_landmarks(head: HeadModel, pair: Pair) -> None:
    for baked in pair:
        rendered = render_frame(head, baked, plain_state(), SIZE)
        row, column = np.nonzero(rendered.masks[..., EYES] > 127)
        for eye in (slice(36, 42), slice(42, 48)):
            low, high = rendered.landmarks[eye].min(0) - 1.5, rendered.landmarks[eye].max(0) + 1.5
            inside = (column > low[0]) & (column + 1 < high[0]) & (row > low[1]) & (row + 1 < high[1])
            assert inside.sum() > 20
            column, row = column[~inside], row[~inside]
        assert len(row) == 0


def test_landmarks_are_in_ibug_order(head: HeadModel, pair: Pair) -> None:
    x, y = render_frame(head, pair[0], plain_state(), SIZE).landmarks.T
    assert (np.diff(x[:17]) > 0).all(), "the jaw runs from left to right in the picture"
    assert y[8] == y[:17].max(), "the chin is lowest"
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) > 0).all()
    assert x[36] < x[39] < x[42] < x[45]
    assert (y[37:39] < y[[41, 40]]).all()
    assert x[48] == x[48:60].min()
    assert x[54] == x[48:60].max()
    assert y[17:27].max() < y[36:48].min() < y[30] < y[48:].min()
    mirrored = np.abs((SIZE - x[[8, 27, 30, 33, 51, 57]]) - x[[8, 27, 30, 33, 51, 57]])
    assert mirrored.max() < 0.5


def test_chin_is_in_the_frame(head: HeadModel, pair: Pair) -> None:
    for baked in pair:
        assert 110 < render_frame(head, baked, plain_state(), SIZE).landmarks[8, 1] < 126


def test_a_pair_has_its_eyes_in_the_same_place(head: HeadModel, pair: Pair) -> None:
    for frame in range(12):
        ada, ben = (render_frame(head, baked, sample_state(7, frame), SIZE) for baked in pair)
        assert np.abs(ada.landmarks[36:48] - ben.landmarks[36:48]).max() < 5
        centres = [r.landmarks[36:48].reshape(2, 6, 2).mean(1) for r in (ada, ben)]
        assert np.abs(centres[0] - centres[1]).max() < 2.5


def test_the_background_of_a_pair_is_the_same(head: HeadModel, pair: Pair) -> None:
    ada, ben = (render_frame(head, baked, sample_state(7, 4), SIZE) for baked in pair)
    behind = (ada.masks[..., FOREGROUND] == 0) & (ben.masks[..., FOREGROUND] == 0)
    assert behind.sum() > 500
    np.testing.assert_array_equal(ada.picture[behind], ben.picture[behind])


def test_same_arguments_give_the_same_bits(head: HeadModel, pair: Pair) -> None:
    first, second = (render_frame(head, pair[1], sample_state(7, 9), SIZE) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.masks, second.masks)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


def test_size_changes_nothing_but_the_resolution(head: HeadModel, pair: Pair) -> None:
    small, large = (render_frame(head, pair[0], sample_state(7, 4), size) for size in (64, 128))
    # Doubling is exact.
    np.testing.assert_array_equal(small.landmarks * 2, large.landmarks)
    shrunk = large.picture.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.picture).mean() < 3


def test_gaze_moves_the_iris_but_not_the_lids(head: HeadModel, pair: Pair) -> None:
    state = plain_state()
    left, right = (render_frame(head, pair[0], replace(state, gaze_yaw=yaw), SIZE) for yaw in (-20.0, 20.0))
    np.testing.assert_array_equal(left.landmarks, right.landmarks)
    np.testing.assert_array_equal(left.masks, right.masks)
    changed = (left.picture != right.picture).any(-1)
    assert changed.sum() > 30
    assert not changed[left.masks[..., EYES] == 0].any()

    def dark_centre(picture: np.ndarray) -> float:
        dark = (255.0 - picture.mean(-1)) ** 2 * (left.masks[..., EYES] > 200)
        return float((dark.sum(0) * np.arange(SIZE)).sum() / dark.sum())

    assert dark_centre(right.picture) > dark_centre(left.picture) + 0.5


@pytest.mark.parametrize("closed", [0.25, 0.5, 0.75, 1.0])
def test_blink_closes_every_identity_equally(head: HeadModel, pair: Pair, closed: float) -> None:
    for unit in UPPER_LIDS:
        upper, lower = head.landmarks[list(UPPER_LIDS[unit])], head.landmarks[list(LOWER_LIDS[unit])]
        for baked in pair:
            rest = baked.shape.vertices[:, 2]
            blinking = expression_vertices(head, baked.shape, {unit: closed})[:, 2]
            gap = (rest[upper] - rest[lower]).mean()
            share = (blinking[upper] - blinking[lower]).mean() / gap
            # Some 32 roundings in float64, of heights, whose differences are the gaps.
            allowed = rounding_error(32, torch.float64) * np.abs(rest[upper]).max() / gap
            assert share == pytest.approx(1 - closed, abs=allowed)


def test_a_closed_eye_shows_no_eyeball(head: HeadModel, pair: Pair) -> None:
    for baked in pair:
        opened = render_frame(head, baked, plain_state(), SIZE).masks[..., EYES].sum()
        closed = (
            render_frame(head, baked, plain_state(eyeBlinkLeft=1.0, eyeBlinkRight=1.0), SIZE)
            .masks[..., EYES]
            .sum()
        )
        assert closed < 0.03 * opened


def test_similarity_recovers_rotation_scale_and_shift() -> None:
    points = np.random.default_rng(0).normal(size=(4, 2))
    matrix = np.array([[0.6, -0.8, 3.0], [0.8, 0.6, -1.0]])
    matrix[:, :2] *= 1.7
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    # Sums over four points, a product and a shift, in float64.
    allowed = rounding_error(32, torch.float64) * np.abs(moved).max()
    np.testing.assert_allclose(similarity(points, moved), matrix, rtol=0, atol=allowed)
