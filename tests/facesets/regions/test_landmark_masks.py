"""Masks drawn from landmarks: their areas, their symmetry, their edges."""

import math
from itertools import pairwise

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.facesets.regions import landmark_masks
from lossarium.facesets.regions.landmark_masks import (
    MASK_KINDS,
    convex_hull,
    face_mask,
    face_masks,
    raised_brows,
)
from tests.facesets.handmade_faces import Points, face, mirrored

SIZE = 64
# Nothing of it lies on the grid that is sampled, where rounding would decide.
LANDMARKS = face(36.013, turn=0.001, shift=(14.017, 16.029))


def area(mask: object) -> float:
    """In pixels."""
    return float(np.sum(np.asarray(mask, float)) / 255)


def polygon_area(corners: Points) -> float:
    x, y = corners.T
    return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)


def around(corners: Points) -> float:
    """The perimeter of a polygon."""
    return float(np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).sum())


def sampled(*hulls: Points) -> float:
    """A bound on the error of a hull's area that is counted in samples.

    Each row of samples begins and ends within half a sample of the hull: errors of 1 / sqrt(12) samples, of
    which no sum exceeds six deviations. A pixel on the edge is rounded to one of 255 levels, too.
    """
    ends = sum(2 * landmark_masks._SAMPLES * float(np.ptp(hull[:, 1])) for hull in hulls)
    edge_pixels = 2 * sum(map(around, hulls))
    return 6 * math.sqrt(ends / 12) / landmark_masks._SAMPLES**2 + edge_pixels / 2 / 255


def moved_by(mask: object, other: object) -> float:
    return float(np.abs(np.asarray(mask, int) - np.asarray(other, int)).mean())


def test_areas_are_those_of_the_hulls() -> None:
    eyes = convex_hull(LANDMARKS[36:42]), convex_hull(LANDMARKS[42:48])
    expected = sum(map(polygon_area, eyes))
    assert area(face_mask("eyes", LANDMARKS, SIZE)) == pytest.approx(expected, abs=sampled(*eyes))
    mouth = convex_hull(LANDMARKS[48:60])
    assert area(face_mask("mouth", LANDMARKS, SIZE)) == pytest.approx(polygon_area(mouth), abs=sampled(mouth))
    # The hulls of its parts lie in the whole face's hull and leave little of it out.
    for kind, points in (("components", LANDMARKS), ("extended", raised_brows(LANDMARKS))):
        whole = convex_hull(points)
        assert area(face_mask(kind, LANDMARKS, SIZE)) / polygon_area(whole) > 0.93
        assert area(face_mask(kind, LANDMARKS, SIZE)) <= polygon_area(whole) + sampled(whole)


def test_extended_goes_up_the_forehead_and_leaves_nothing_out() -> None:
    components, extended = (
        face_mask(kind, LANDMARKS, SIZE).astype(int) for kind in ("components", "extended")
    )
    assert (extended >= components - 8).all()
    assert np.flatnonzero(extended.any(axis=1))[0] <= np.flatnonzero(components.any(axis=1))[0] - 2
    assert (np.abs(extended - components)[40:] <= 8).all()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_mirrored_face_has_a_mirrored_mask(kind: str) -> None:
    landmarks = face(36.013, turn=0.2, shift=(18.017, 12.029))
    order = _mirrored_order()
    other = mirrored(landmarks, SIZE)[order]
    mask = face_mask(kind, landmarks, SIZE)
    # Rounding in float64 would have to move an edge across the middle of a sample.
    np.testing.assert_array_equal(mask[:, ::-1], face_mask(kind, other, SIZE))
    assert moved_by(mask, face_mask(kind, other, SIZE)) > 2


def _mirrored_order() -> list[int]:
    """The index of each landmark in a mirrored face."""
    rows = [
        range(16, -1, -1),
        range(26, 16, -1),
        range(27, 31),
        range(35, 30, -1),
        (45, 44, 43, 42, 47, 46),
        (39, 38, 37, 36, 41, 40),
        (54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        (64, 63, 62, 61, 60, 67, 66, 65),
    ]
    order = [index for row in rows for index in row]
    assert sorted(order) == list(range(68))
    return order


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_shifts_by_whole_pixels_shift_the_mask(kind: str) -> None:
    mask = face_mask(kind, LANDMARKS, SIZE)
    moved = face_mask(kind, LANDMARKS + np.array([5, -3]), SIZE)
    np.testing.assert_array_equal(moved[2:-8, 7:-2], mask[5:-5, 2:-7])


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_size_scales_the_mask(kind: str) -> None:
    double = face_mask(kind, LANDMARKS * 2, SIZE * 2).reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    differences = (face_mask(kind, LANDMARKS, SIZE) - double) / 255
    # A straight edge crosses at most 2 n - 1 of a pixel's n x n samples and halves each at worst. Levels are
    # rounded twice.
    crossed = sum((2 * n - 1) / (2 * n * n) for n in (landmark_masks._SAMPLES, 2 * landmark_masks._SAMPLES))
    assert np.abs(differences).max() <= crossed + 1 / 255
    if kind == "mouth":  # A single hull: its area and its place, relative to its width and height, are kept.
        mouth = convex_hull(LANDMARKS[48:60])
        allowed = sampled(mouth) + sampled(2 * mouth) / 4
        (left, top), (right, bottom) = mouth.min(axis=0), mouth.max(axis=0)
        rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
        across, down = (
            (2 * columns - left - right) / (right - left),
            (2 * rows - top - bottom) / (bottom - top),
        )
        for moment in (differences, differences * across, differences * down):
            assert abs(moment.sum()) <= allowed


@pytest.mark.parametrize("radius", [0.5, 1.0, 3.0, 7.5])
def test_dilation_grows_by_its_radius_on_all_sides(radius: float) -> None:
    mouth = convex_hull(LANDMARKS[48:60])
    # Steiner's formula for a convex shape.
    expected = polygon_area(mouth) + around(mouth) * radius + np.pi * radius**2
    # Distances are those from the samples inside, which end half a sample or less before the hull does.
    edge = around(mouth) + 2 * np.pi * radius
    allowed = edge / (2 * landmark_masks._SAMPLES) + sampled(mouth)
    assert area(face_mask("mouth", LANDMARKS, SIZE, dilation=radius)) == pytest.approx(expected, abs=allowed)


def test_negative_dilation_shrinks_and_in_the_end_nothing_is_left() -> None:
    masks = [face_mask("extended", LANDMARKS, SIZE, dilation=by).astype(int) for by in (2, 0, -2, -4, -30)]
    for larger, smaller in pairwise(masks):
        assert (larger >= smaller).all()
        assert larger.sum() > smaller.sum()
    assert masks[-1].max() == 0


def test_blur_softens_edges_and_keeps_the_area() -> None:
    sharp = face_mask("extended", LANDMARKS, SIZE)
    soft = face_mask("extended", LANDMARKS, SIZE, blur=2.0)
    # Three box filters along either axis round soft pixels to whole levels; no sum exceeds six deviations.
    touched = np.count_nonzero((soft > 0) & (soft < 255))
    assert area(soft) == pytest.approx(area(sharp), abs=6 * math.sqrt(6 * touched / 12) / 255)
    assert np.count_nonzero((soft > 10) & (soft < 245)) > 2 * np.count_nonzero((sharp > 10) & (sharp < 245))


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_faces_partly_and_wholly_outside(kind: str) -> None:
    big = face_mask(kind, LANDMARKS + SIZE, 3 * SIZE, dilation=2, blur=1)
    for x, y in ((-25, 0), (0, 30), (20, -20), (-300, 0), (1e5, -1e5)):
        mask = face_mask(kind, LANDMARKS + np.array([x, y]), SIZE, dilation=2, blur=1)
        assert mask.shape == (SIZE, SIZE)
        if abs(x) < SIZE:
            expected = big[SIZE - int(y) : 2 * SIZE - int(y), SIZE - int(x) : 2 * SIZE - int(x)]
            assert np.abs(mask.astype(int) - expected).max() <= 2
        else:
            assert mask.max() == 0
    whole = face_mask(kind, (LANDMARKS - 32) * 1e4 + 32, SIZE)
    assert whole.shape == (SIZE, SIZE)


def test_degenerate_faces_draw_nothing() -> None:
    for landmarks in (np.full((68, 2), 30.0), np.stack([np.linspace(0, 64, 68)] * 2, axis=1)):
        assert area(face_mask("eyes", landmarks, SIZE)) < 10


def test_many_at_once() -> None:
    many = np.stack([LANDMARKS, LANDMARKS + 3]).astype(np.float32)
    masks = face_masks("mouth", many, SIZE, dilation=1)
    np.testing.assert_array_equal(masks[1], face_mask("mouth", many[1], SIZE, dilation=1))
    assert masks.shape == (2, SIZE, SIZE)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(
        LossariumError, match="no mask 'nose'; choose one of components, extended, eyes, mouth"
    ):
        face_mask("nose", LANDMARKS, SIZE)
    for options in ({"blur": -1.0}, {"blur": np.inf}, {"dilation": 65.0}, {"dilation": np.nan}):
        with pytest.raises(LossariumError, match="cannot be dilated by"):
            face_mask("eyes", LANDMARKS, SIZE, **options)
    for landmarks in (LANDMARKS[:51], np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="landmarks have to be 68 finite points"):
            face_mask("eyes", landmarks, SIZE)
