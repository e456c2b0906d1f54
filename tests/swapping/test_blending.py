"""Crops, masks and blends."""

import math

import numpy as np
import pytest

from lossarium.swapping.blending import blend, centre_square, feathered, resized_face, resized_mask


def disc(side=100, radius=30):
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    return ((rows**2 + columns**2 < radius**2) * 255).astype(np.uint8)


def test_the_centre_square_is_a_view_of_what_is_trained_on():
    wide = np.arange(4 * 9 * 3, dtype=np.uint8).reshape(4, 9, 3)
    assert np.array_equal(centre_square(wide), wide[:, 2:6])
    assert np.array_equal(centre_square(wide.swapaxes(0, 1)), wide[:, 2:6].swapaxes(0, 1))
    centre_square(wide)[:] = 0
    assert not wide[:, 2:6].any()
    assert wide[:, :2].any()


def test_a_mask_without_feather_is_itself():
    assert np.array_equal(feathered(disc(), 0), disc() / np.float32(255))


def gaussian_blur(picture, deviation):
    offsets = np.arange(-49, 50)
    weights = np.exp(-0.5 * (offsets / deviation) ** 2)
    for axis in (0, 1):
        picture = np.apply_along_axis(np.convolve, axis, picture, weights / weights.sum(), mode="same")
    return picture


def error_of_pillows_blur():
    """How far Pillow's blur of a mask in [0, 1] is from a Gaussian one.

    It takes three box blurs an axis, each rounded to levels: an edge becomes the distribution of a sum of
    three uniform numbers, which is nearly normal. How far the two are apart is computed on a grid.
    """
    sums = np.linspace(-1.5, 1.5, 3001)
    binomial = ((1, 1.5), (-3, 0.5), (3, -0.5), (-1, -1.5))
    uniform = sum(count * np.maximum(sums + start, 0) ** 3 for count, start in binomial) / 6
    normal = [0.5 + 0.5 * math.erf(value / math.sqrt(2 * 3 / 12)) for value in sums]
    return 2 * (np.abs(uniform - normal).max() + 3 * 0.5 / 255)


@pytest.mark.parametrize("feather", [2.0, 5.0, 10.0])
def test_the_swap_fades_in_inside_the_mask_and_never_spills(feather):
    mask = disc()
    share = feathered(mask, feather)
    assert share[mask == 0].max() == 0
    # Levels fall, and so do shares that are computed of them, whatever is rounded.
    assert np.all(np.diff(share[50, 50:85]) <= 0)
    # The feather is two deviations, at which 2 x - 1 of a blurred straight edge is 95%.
    expected = np.minimum(mask / 255, np.clip(2 * gaussian_blur(mask / 255, feather / 2) - 1, 0, 1))
    allowed = 2 * error_of_pillows_blur()
    assert np.abs(share - expected).max() <= allowed < 0.07


def test_a_mask_that_goes_to_the_border_counts_there_in_full():
    assert feathered(np.full((20, 20), 255, np.uint8), 10).min() == 1


def test_a_larger_feather_shows_less_of_the_swap():
    shares = [feathered(disc(), feather).sum() for feather in (0, 2, 5, 10)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_a_blend_shows_face_and_frame_by_their_shares():
    face, frame = np.full((2, 2, 3), 200, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    share = np.array([[0, 1], [0.5, 0.25]], np.float32)
    assert blend(face, frame, share)[..., 1].tolist() == [[100, 200], [150, 125]]


@pytest.mark.parametrize("side", [8, 16, 40])
def test_sizes_of_faces_and_masks(side):
    face = np.full((16, 16, 3), 77, np.uint8)
    assert np.array_equal(resized_face(face, side), np.full((side, side, 3), 77, np.uint8))
    mask = resized_mask(np.full((16, 24), 255, np.uint8), side)
    assert mask.shape == (side, side)
    assert mask.min() == 255
