"""CIELAB against its definition and scikit-image, in both directions."""

import numpy as np
import pytest
import torch
from skimage.color import colorconv, lab2rgb, rgb2lab

from lossarium.facesets.batches import colour_cpu
from lossarium.facesets.colour import lab_to_srgb, srgb_to_lab
from tests.bounds import rounding_error

MATRIX = 5e-8
"""Matrices are published to seven places."""


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
    # Half of the last place; and 500 / 3 times the last places of a row of the matrix, by a root's slope.
    assert np.allclose(found, lab, rtol=0, atol=0.005 + 500 / 3 * 3 * MATRIX)


def test_lab_agrees_with_scikit_image_on_a_picture_that_is_not_square(monkeypatch):
    # Its own matrix has six digits of other primaries; with ours it has to agree but for its constant 7.787,
    # which is 7.787037, below light of 0.008856: in two roots, of which a* is 500 times the difference.
    ours = np.reshape(colour_cpu.LIGHT_TO_XYZ, (3, 3)) * np.array([[0.95047], [1], [1.08883]])
    monkeypatch.setattr(colorconv, "xyz_from_rgb", ours)
    monkeypatch.setattr(colorconv, "rgb_from_xyz", np.linalg.inv(ours))
    frames = pictures(2, 3, 7, 5)
    frames[0, :, :3] /= 100
    expected = rgb2lab(frames.numpy(), channel_axis=1)
    assert np.allclose(srgb_to_lab(frames), expected, rtol=0, atol=2 * 500 * 3.8e-5 * 0.008856)
    back = lab2rgb(expected, channel_axis=1)
    # The same constant, a row of the inverse matrix, whose numbers sum to 5.2, and the inverse's own digits;
    # magnified by the foot of sRGB's curve.
    allowed = 12.92 * (5.2 * 0.008856 * 3.8e-5 / 7.787 + 3 * 3.24 * MATRIX)
    assert np.allclose(lab_to_srgb(torch.from_numpy(expected)), back, rtol=0, atol=allowed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_converting_there_and_back_gives_the_picture(dtype):
    frames = pictures(2, 3, 16, 16).to(dtype)
    frames[0, :, :4] /= 200  # The straight part of both curves.
    # A chain of some 32 roundings, and matrices whose largest number is 3.24: each other's inverse but for
    # their last places. The foot of sRGB's curve magnifies both.
    allowed = 12.92 * (rounding_error(32, dtype) + 3 * 3.24 * MATRIX)
    assert (lab_to_srgb(srgb_to_lab(frames)) - frames).abs().max() <= allowed


def test_grey_has_no_colour_and_its_lightness_rises():
    grey = torch.linspace(0, 1, 64, dtype=torch.float64).view(1, 1, 1, -1).expand(1, 3, 1, 64)
    lightness, a, b = srgb_to_lab(grey).unbind(1)
    # Rows of the matrix sum to the white point but for their last places. A root's slope is 1/3 at white.
    allowed = 500 / 3 * 2 * 3 * MATRIX / 0.95
    assert (a.abs() <= allowed).all()
    assert (b.abs() <= allowed).all()
    assert (lightness.diff() > 0).all()


def test_any_lab_values_give_finite_pictures_in_range():
    wild = (pictures(1, 3, 32, 32, seed=1) - 0.5) * 600
    found = lab_to_srgb(wild)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
