"""Sharpness: the energy of detail over the truth's."""

import math

import pytest
import torch

from lossarium.judging.artefacts.planting import gaussian_blur, unsharp_mask
from lossarium.judging.sharpness import MOST_BANDS, sharpness, sharpness_bands
from tests.bounds import apart
from tests.judging.artefacts.pictures import faces


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_pictures_have_ratios_of_1_and_the_figure_0():
    for truth in (faces(2, 64), torch.full((2, 3, 40, 50), 0.5)):
        assert (sharpness_bands(truth.clone(), truth) == 1).all()
        assert (sharpness(truth.clone(), truth) == 0).all()


@pytest.mark.parametrize(("side", "bands"), [(8, 1), (31, 1), (32, 2), (64, 3), (128, 4), (256, MOST_BANDS)])
def test_the_bands_are_octaves(side, bands):
    assert sharpness_bands(noise(1, 3, side, side + 3), noise(1, 3, side, side + 3)).shape == (1, bands)


def test_detail_of_twice_the_amplitude_has_four_times_the_energy():
    truth = noise(1, 3, 64, 64)
    bands = sharpness_bands(0.5 + 2 * (truth - 0.5), truth)
    # Energies e have that of rounding to 8 bits, r, added: (4 e + r) / (e + r) = 4 - 3 r / (e + r), and a
    # flat picture has r / (e + r).
    flat = sharpness_bands(torch.full_like(truth, 0.5), truth)
    assert bands == pytest.approx(4 - 3 * flat, rel=apart(torch.float64))
    assert sharpness(0.5 + 2 * (truth - 0.5), truth).item() == pytest.approx(2.0, abs=0.01)


def test_a_wave_counts_in_the_band_of_its_octave():
    across = torch.arange(64, dtype=torch.float64)
    truth = noise(1, 1, 64, 64)
    finest, coarsest = (truth + 0.5 * torch.sin(2 * math.pi * across / period) for period in (2.5, 16))
    assert sharpness_bands(finest, truth).argmax() == 0
    assert sharpness_bands(coarsest, truth).argmax() == 2


def test_blur_has_less_energy_the_finer_the_band_and_sharpening_more():
    truth = faces(4, 64)
    blurred = sharpness_bands(gaussian_blur(truth, 1.0, 0), truth)
    assert (blurred < 1).all()
    assert (blurred.diff(dim=1) > 0).all()
    assert (sharpness_bands(unsharp_mask(truth, 0.5, 0), truth) > 1).all()
    figures = torch.stack([sharpness(gaussian_blur(truth, sigma, 0), truth) for sigma in (0, 0.5, 1, 2, 3)])
    assert (figures.diff(dim=0) > 0).all()


def test_only_what_counts_is_measured():
    truth = noise(2, 3, 64, 64)
    prediction = truth.clone()
    prediction[..., 40:] = 0.5
    weight = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    weight[..., :32] = 1
    assert (sharpness(prediction, truth, weight) == 0).all()
    assert (sharpness(prediction, truth) > 0).all()
    assert (sharpness(prediction, truth, torch.zeros_like(weight)) == 0).all()


def test_nan_stays_nan_and_float32_is_accurate():
    truth, prediction = noise(2, 3, 64, 48), noise(2, 3, 64, 48, seed=1)
    single = sharpness_bands(prediction.float(), truth.float())
    # Detail is a difference of pictures: its error is relative to them, some three times as large.
    assert single == pytest.approx(sharpness_bands(prediction, truth), rel=10 * apart(torch.float32))
    prediction[0, 0, 0, 0] = torch.nan
    assert sharpness(prediction, truth).isnan().tolist() == [True, False]
