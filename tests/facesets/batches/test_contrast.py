"""CLAHE against its definition, pixel by pixel."""

import numpy as np
import pytest
import torch

from lossarium.facesets.batches.contrast import LEVELS, clahe
from tests.bounds import rounding_error

# A curve is a sum of up to 256 shares, each made of some four numbers, and ends at 1; a pixel's place on it
# and its mix of four tiles are some 16 roundings more, of numbers up to the 256th level.
CURVE = rounding_error(LEVELS + 4 + 16, torch.float64) + LEVELS * rounding_error(2, torch.float64)


def planes(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(light, tiles, clip):
    """One plane, one pixel at a time."""
    height, width = light.shape
    curves = np.zeros((tiles, tiles, 257))
    for row in range(tiles):
        for column in range(tiles):
            part = [
                light[i, j]
                for i in range(height)
                for j in range(width)
                if i * tiles // height == row and j * tiles // width == column
            ]
            shares = np.histogram(part, 256, (0, 1))[0] / len(part)
            excess = np.maximum(shares - clip / 256, 0).sum()
            curves[row, column, 1:] = np.cumsum(np.minimum(shares, clip / 256) + excess / 256)
    middles_down = (np.arange(tiles) + 0.5) * height / tiles - 0.5
    middles_along = (np.arange(tiles) + 0.5) * width / tiles - 0.5
    edges = np.linspace(0, 1, 257)
    outcome = np.empty_like(light)
    for i in range(height):
        for j in range(width):
            mapped = [[np.interp(light[i, j], edges, curve) for curve in row] for row in curves]
            by_row = [np.interp(j, middles_along, row) for row in mapped]
            outcome[i, j] = np.interp(i, middles_down, by_row)
    return outcome


@pytest.mark.parametrize(("tiles", "clip"), [(1, 2.0), (2, 1.0), (3, 4.0), (5, 2.0)])
def test_each_pixel_is_interpolated_between_the_nearest_tiles(tiles, clip):
    light = planes(2, 13, 17) ** 2
    found = clahe(light, tiles, clip)
    for plane, equalised in zip(light, found, strict=True):
        expected = by_definition(plane.numpy(), tiles, clip)
        assert np.allclose(equalised, expected, rtol=0, atol=2 * CURVE)


def test_contrast_grows_with_the_clip_limit_and_without_any_nothing_changes():
    light = 0.4 + 0.2 * planes(1, 48, 32)
    assert torch.allclose(clahe(light, 3, 0.0), light, rtol=0, atol=CURVE)
    spreads = [clahe(light, 3, clip).std().item() for clip in (0.0, 1.0, 2.0, 4.0)]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 1.5 * spreads[0]


def test_one_tile_keeps_the_order_and_the_range():
    light = planes(1, 24, 24)
    light[0, 0, :2] = torch.tensor([0.0, 1.0])
    found = clahe(light, 1, 3.0)
    order = light.flatten().argsort()
    assert (found.flatten()[order].diff() >= 0).all()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert torch.allclose(found[0, 0, :2], ends, rtol=0, atol=CURVE)


def test_transposing_the_picture_transposes_the_outcome():
    light = planes(2, 20, 31)
    turned = clahe(light.mT.contiguous(), 4, 2.0)
    assert torch.allclose(turned, clahe(light, 4, 2.0).mT, rtol=0, atol=2 * CURVE)


def test_a_picture_is_equalised_by_itself():
    light = planes(3, 16, 16)
    assert torch.equal(clahe(light, 2, 2.0)[1], clahe(light[1:2], 2, 2.0)[0])
