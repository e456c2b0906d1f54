"""CIELAB against its definition and scikit-image, in both directions."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from lossarium.facesets.colour import lab_to_srgb, srgb_to_lab
from tests.bounds import rounding_error


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Bruce Lindbloom's CIE colour calculator, sRGB and D65 without adaptation, to two places.
@pytest.mark.parametrize(
    ("srgb", "lab"),
    [
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (100, 0, 0)),
    ],
)
def test_the_corners_of_srgb_are_where_they_are_published(srgb, lab):
    found = srgb_to_lab(torch.tensor(srgb, dtype=torch.float64).view(1, 3, 1, 1)).flatten()
    assert np.allclose(found, lab, atol=0.02)


def test_lab_agrees_with_scikit_image_on_a_picture_that_is_not_square():
    frames = pictures(2, 3, 7, 5)
    expected = rgb2lab(frames.numpy(), channel_axis=1)
    assert np.allclose(srgb_to_lab(frames), expected, atol=0.02)
    back = lab2rgb(expected, channel_axis=1)
    assert np.allclose(lab_to_srgb(torch.from_numpy(expected)), back, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_gives_the_picture(dtype):
    frames = pictures(2, 3, 16, 16).to(dtype)
    frames[0, :, :4] /= 200  # The straight part of both curves.
    # A chain of some 32 roundings, and matrices that are published to seven digits, the largest number 3.24:
    # each other's inverse but for that. The foot of sRGB's curve magnifies both.
    allowed = 12.92 * (rounding_error(32, dtype) + 3 * 3.24 * 5e-8)
    assert (lab_to_srgb(srgb_to_lab(frames)) - frames).abs().max() <= allowed


def test_grey_has_no_colour_and_its_lightness_rises():
    grey = torch.linspace(0, 1, 64, dtype=torch.float64).view(1, 1, 1, -1).expand(1, 3, 1, 64)
    lightness, a, b = srgb_to_lab(grey).unbind(1)
    assert (a.abs() < 1e-3).all()
    assert (b.abs() < 1e-3).all()
    assert (lightness.diff() > 0).all()


def test_whatever_lab_holds_the_picture_stays_in_range_and_finite():
    wild = (pictures(1, 3, 32, 32, seed=1) - 0.5) * 600
    found = lab_to_srgb(wild)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
