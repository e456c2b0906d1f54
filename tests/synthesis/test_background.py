"""The background: its blur equals SciPy's, and it is a function of its seed."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lossarium.synthesis.background import _blur, render_background
from tests.bounds import rounding_error


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.3, 4.4, 9.0])
@pytest.mark.parametrize("shape", [(40, 23, 3), (17, 700, 1)])
def test_blur_is_a_mirrored_gaussian(shape: tuple[int, int, int], sigma: float) -> None:
    picture = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    exact = picture.astype(np.float64)
    expected = ndimage.gaussian_filter(exact, (sigma, sigma, 0), truncate=3.0, mode="reflect")
    # Sums are made in float64, and rounded to float32 after either axis; no value is above 1.
    allowed = rounding_error(2, torch.float32) + 2 * rounding_error(2 * 55 + 4, torch.float64)
    np.testing.assert_allclose(_blur(picture, sigma), expected, rtol=0, atol=allowed)


def test_background_depends_on_its_seed_alone() -> None:
    first, again, other = (render_background(seed, 48) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
