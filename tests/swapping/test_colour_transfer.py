"""Reinhard's colour transfer."""

import numpy as np
import pytest
import torch

from lossarium.facesets.batches.colour_cpu import LIGHT_TO_XYZ, XYZ_TO_LIGHT
from lossarium.facesets.colour import srgb_to_lab
from lossarium.swapping.colour_transfer import transfer_colour
from tests.bounds import rounding_error

# Two matrices are each other's inverse but for the last of the seven places to which they are published. sRGB
# changes by at most 3.2 times what light does from 0.2 on, as in these pictures.
MATRICES = np.reshape(XYZ_TO_LIGHT, (3, 3)) @ np.reshape(LIGHT_TO_XYZ, (3, 3)) - np.eye(3)
LIGHT = np.abs(MATRICES).sum(axis=1).max()
RETURNED = 3.2 * LIGHT + rounding_error(1, torch.float32)


def picture(seed, height=12, width=17, low=0.2, high=0.7):
    return np.random.default_rng(seed).uniform(low, high, (height, width, 3)).astype(np.float32)


def moments(colours, weight):
    pictures = torch.from_numpy(colours).double().permute(2, 0, 1)[None]
    lab = srgb_to_lab(pictures)[0].permute(1, 2, 0).numpy()[weight > 0]
    return np.stack([lab.mean(axis=0), lab.std(axis=0)])


def test_the_mean_and_the_deviation_inside_the_mask_become_the_references():
    face, reference = picture(2, low=0.4, high=0.6), picture(3, low=0.3, high=0.6)
    weight = np.zeros(face.shape[:2], np.float32)
    weight[2:9, 3:15] = 1
    # Outside the mask anything may be.
    face[0], reference[-1] = 0, 1
    moved = transfer_colour(face, reference, weight)
    inside = moved[weight > 0]
    assert 0.2 < inside.min() < inside.max() < 0.8  # nothing is clipped
    # From light of 0.033 on a root changes by at most 3.2 times as much, and a* by 500 times two roots.
    allowed = 500 * 2 * 3.2 * (LIGHT + rounding_error(1, torch.float32) / 0.3)
    np.testing.assert_allclose(moments(moved, weight), moments(reference, weight), rtol=0, atol=allowed)
    assert moved.shape == face.shape
    assert moved.dtype == np.float32


def test_a_picture_with_its_own_colours_as_reference_stays_as_it_is():
    colours = picture(4)
    np.testing.assert_allclose(transfer_colour(colours, colours), colours, rtol=0, atol=RETURNED)


def test_transposed_pictures_give_transposed_outcomes():
    face, reference, weight = picture(5), picture(6), picture(7)[..., 0]
    there = transfer_colour(face, reference, weight)
    turned = transfer_colour(*(array.swapaxes(0, 1) for array in (face, reference, weight)))
    # In float64 but for the outcome, which may be rounded the other way.
    allowed = rounding_error(2, torch.float32)
    np.testing.assert_allclose(turned.swapaxes(0, 1), there, rtol=allowed, atol=0)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_face_of_one_colour_takes_the_references_mean(level):
    face = np.full((6, 5, 3), level, np.float32)
    moved = transfer_colour(face, np.full((6, 5, 3), 0.3, np.float32))
    np.testing.assert_allclose(moved, 0.3, rtol=0, atol=RETURNED)


def test_an_empty_mask_changes_nothing():
    colours = picture(8)
    assert np.array_equal(transfer_colour(colours, picture(9), np.zeros((12, 17), np.float32)), colours)


def test_values_stay_in_range():
    moved = transfer_colour(picture(10, low=0.45, high=0.5), picture(11, low=0, high=1))
    assert moved.min() >= 0
    assert moved.max() <= 1
