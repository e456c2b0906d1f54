"""Wavelet L1."""

import doctest

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.frequency import wavelet_l1
from tests.bounds import apart, error_bound
from tests.losses.pictures import checkerboard, random_pair

EXACT = apart(torch.float64)


def by_windows(error: np.ndarray, levels: int) -> float:
    """The formula band by band: each is one convolution of a channel with its whole wavelet."""

    def filter_of(kinds: str) -> np.ndarray:
        # The kinds of filters level by level: each with its pixels 2^level apart.
        whole = np.ones(1)
        for level, kind in enumerate(kinds):
            step = np.zeros(2**level + 1)
            step[0], step[-1] = 0.5, 0.5 if kind == "L" else -0.5
            whole = np.convolve(whole, step)
        return whole

    low = "L" * levels
    bands = [(low, low)]
    for level in range(levels):
        begin = "L" * level
        bands += [(begin + down, begin + across) for down, across in ("LH", "HL", "HH")]
    return sum(
        np.mean(
            [
                np.abs(convolve2d(plane, np.outer(filter_of(down), filter_of(across)), "valid")).mean()
                for plane in error
            ]
        )
        for down, across in bands
    )


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_formula_band_by_band(levels, weighted):
    input, target = random_pair(height=21, width=18, dtype=torch.float64)
    weight = torch.rand(2, 1, 21, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = losses.wavelet_l1(
        input, target, levels=levels, weight=weight if weighted else None, reduction="none"
    )
    for place in range(2):
        error = input[place] - target[place]
        if weighted:
            error = error * weight[place] / weight[place].max()
        assert ours[place].item() == pytest.approx(by_windows(error.numpy(), levels), rel=EXACT)


def test_float32_is_as_exact_as_its_roundings():
    input, target = random_pair(height=64, width=48, dtype=torch.float64)
    exact = losses.wavelet_l1(input, target).item()
    bound = error_bound(losses.wavelet_l1, input, target, dtype=torch.float32).item()
    assert losses.wavelet_l1(input.float(), target.float()).item() == pytest.approx(exact, abs=2 * bound)
    assert bound < 1e-4 * exact


def test_one_wrong_pixel_counts_in_every_wavelet_that_covers_it():
    target = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    input = target.clone()
    input[..., 15, 14] = 1
    # Level j has 4^j coefficients of 4^-j in each of its three bands; the coarsest low pass has the same.
    expected = sum(3 / (33 - 2**j) ** 2 for j in (1, 2, 3)) + 1 / (33 - 8) ** 2
    assert losses.wavelet_l1(input, target).item() == pytest.approx(expected, rel=EXACT)


def test_a_shift_inside_a_flat_border_changes_nothing():
    target = torch.zeros(1, 3, 48, 48, dtype=torch.float64)
    patch = random_pair(height=20, width=16, dtype=torch.float64)[0][:1]
    values = []
    for row, column in ((14, 16), (15, 13), (11, 17)):
        input = target.clone()
        input[..., row : row + 20, column : column + 16] = patch
        values.append(losses.wavelet_l1(input, target).item())
    assert values == pytest.approx([values[0]] * 3, rel=EXACT)


def test_a_checkerboard_is_seen_in_the_finest_diagonal_band():
    target = torch.full((1, 3, 32, 32), 0.5)
    input = target + 0.2 * (2 * checkerboard(32, 32) - 1)
    # HH of the first level keeps all of it, and every other band is 0.
    near = error_bound(losses.wavelet_l1, input.double(), target.double(), dtype=torch.float32).item()
    assert losses.wavelet_l1(input, target).item() == pytest.approx(0.2, abs=near + 1e-7)


def test_as_many_levels_as_fit_are_taken():
    for side, fitting in ((1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (40, 3)):
        input, target = random_pair(height=side, width=side + 3)
        expected = losses.wavelet_l1(input, target, levels=fitting) if fitting else losses.mae(input, target)
        assert torch.allclose(losses.wavelet_l1(input, target), expected)


def test_derivatives_equal_finite_differences():
    input, target = random_pair(height=18, width=17, channels=3, dtype=torch.float64)
    weight = torch.rand(2, 1, 18, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: losses.wavelet_l1(x, target, weight=weight, reduction="none"), input, fast_mode=True
    )


def test_levels_that_do_not_fit_are_refused():
    picture = torch.zeros(1, 3, 9, 40)
    for levels in (-1, 4):
        with pytest.raises(LossariumError, match="whole number up to 3 for pictures of 40x9"):
            losses.wavelet_l1(picture, picture, levels=levels)


def test_the_docstrings_examples_run():
    tried = doctest.testmod(wavelet_l1)
    assert tried.failed == 0
    assert tried.attempted > 0
