"""Reinhard's colour transfer, against scikit-image's L*a*b*."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from lossarium.swapping.colour_transfer import transfer_colour


def picture(seed, height=12, width=17, low=0.2, high=0.7):
    return np.random.default_rng(seed).uniform(low, high, (height, width, 3)).astype(np.float32)


def moments(colours, weight):
    lab = rgb2lab(colours.astype(np.float64))[weight > 0]
    return np.stack([lab.mean(axis=0), lab.std(axis=0)])


def test_the_mean_and_the_deviation_inside_the_mask_become_the_references():
    face, reference = picture(2, low=0.4, high=0.6), picture(3, low=0.3, high=0.6)
    weight = np.zeros(face.shape[:2], np.float32)
    weight[2:9, 3:15] = 1
    # Outside the mask anything may be.
    face[0], reference[-1] = 0, 1
    moved = transfer_colour(face, reference, weight)
    np.testing.assert_allclose(moments(moved, weight), moments(reference, weight), atol=0.05)
    assert moved.shape == face.shape
    assert moved.dtype == np.float32


def test_a_picture_with_its_own_colours_as_reference_stays_as_it_is():
    colours = picture(4)
    np.testing.assert_allclose(transfer_colour(colours, colours), colours, atol=1e-6)


def test_transposed_pictures_give_transposed_outcomes():
    face, reference, weight = picture(5), picture(6), picture(7)[..., 0]
    there = transfer_colour(face, reference, weight)
    turned = transfer_colour(*(array.swapaxes(0, 1) for array in (face, reference, weight)))
    np.testing.assert_allclose(turned.swapaxes(0, 1), there, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_face_of_one_colour_takes_the_references_mean(level):
    face = np.full((6, 5, 3), level, np.float32)
    moved = transfer_colour(face, np.full((6, 5, 3), 0.3, np.float32))
    np.testing.assert_allclose(moved, 0.3, atol=1e-4)


def test_a_mask_of_nothing_changes_nothing():
    colours = picture(8)
    assert np.array_equal(transfer_colour(colours, picture(9), np.zeros((12, 17), np.float32)), colours)


def test_values_stay_in_range():
    moved = transfer_colour(picture(10, low=0.45, high=0.5), picture(11, low=0, high=1))
    assert moved.min() >= 0
    assert moved.max() <= 1
