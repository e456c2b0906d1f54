"""CIEDE2000 against its published test data and scikit-image."""

import json
from pathlib import Path

import pytest
import torch
from skimage.color import deltaE_ciede2000

from lossarium.facesets.colour import lab_to_srgb
from lossarium.judging.ciede2000 import ciede2000, ciede2000_map, lab_difference
from tests.bounds import error_bound

GOLDEN = Path(__file__).parent.parent / "golden" / "ciede2000.json"
PAIRS = torch.tensor(json.loads(GOLDEN.read_text(encoding="utf-8"))["pairs"], dtype=torch.float64)
LAST_PLACE = 1e-4
# The formula jumps where two hues are opposite, as in these pairs, from 1; in them one rounding decides.
OPPOSITE_HUES = (10, 14)


def colours(count, seed=0):
    """CIELAB colours of sRGB's size, (count, 3), of both signs."""
    source = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, 3, generator=source, dtype=torch.float64)
    return unit * torch.tensor([100.0, 160.0, 160.0]) - torch.tensor([0.0, 80.0, 80.0])


def test_the_34_published_pairs_have_their_published_differences():
    assert len(PAIRS) == 34
    found = lab_difference(PAIRS[:, :3], PAIRS[:, 3:6])
    # Rounded to four places by their authors.
    assert (found - PAIRS[:, 6]).abs().max() <= LAST_PLACE / 2 + 1e-12


def test_the_published_pairs_in_float32():
    kept = [row for row in range(34) if row + 1 not in OPPOSITE_HUES]
    first, second, published = PAIRS[kept, :3], PAIRS[kept, 3:6], PAIRS[kept, 6]
    found = lab_difference(first.float(), second.float())
    bound = error_bound(lab_difference, first, second, dtype=torch.float32)
    assert ((found - published).abs() <= LAST_PLACE / 2 + bound).all()


def test_random_colours_differ_as_scikit_image_says():
    first, second = colours(2000), colours(2000, seed=1)
    expected = torch.from_numpy(deltaE_ciede2000(first.numpy(), second.numpy()))
    bound = error_bound(lab_difference, first, second)
    assert ((lab_difference(first, second) - expected).abs() <= 2 * bound).all()


def test_the_order_of_two_colours_does_not_matter():
    first, second = colours(500), colours(500, seed=1)
    bound = error_bound(lab_difference, first, second)
    assert ((lab_difference(first, second) - lab_difference(second, first)).abs() <= 2 * bound).all()


def test_equal_colours_do_not_differ_even_if_they_are_grey():
    grey = torch.tensor([[50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    for one in (colours(500), colours(500).float(), grey):
        assert (lab_difference(one, one.clone()) == 0).all()


def test_a_picture_has_the_weighted_mean_of_its_pixels():
    source = torch.Generator().manual_seed(0)
    prediction, truth = torch.rand(2, 2, 3, 12, 20, generator=source, dtype=torch.float64)
    weight = torch.rand(2, 1, 12, 20, generator=source, dtype=torch.float64)
    pixels = ciede2000_map(prediction, truth)
    assert pixels.shape == (2, 1, 12, 20)
    expected = (pixels * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    assert ciede2000(prediction, truth, weight) == pytest.approx(expected, rel=1e-12)
    assert ciede2000(prediction, truth) == pytest.approx(pixels.mean((1, 2, 3)), rel=1e-12)


def test_pictures_are_read_as_srgb():
    first = torch.tensor([60.0, 10.0, 5.0], dtype=torch.float64)
    second = torch.tensor([58.0, 12.0, -3.0], dtype=torch.float64)
    pictures = [lab_to_srgb(lab.view(1, 3, 1, 1)).expand(1, 3, 8, 8) for lab in (first, second)]
    expected = deltaE_ciede2000(first.numpy(), second.numpy())
    # The matrices to and from CIELAB are published to seven places: 500 times that in a* and b*.
    assert ciede2000(*pictures).item() == pytest.approx(expected, abs=500 * 3 * 1e-7)


def test_grey_pictures_values_outside_weights_of_0_and_nan():
    truth = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ciede2000(truth, truth), torch.zeros(2))
    assert torch.equal(ciede2000(truth + 9, truth), ciede2000(torch.ones_like(truth), truth))
    assert torch.equal(ciede2000(1 - truth, truth, torch.zeros_like(truth)), torch.zeros(2))
    spoiled = truth.clone()
    spoiled[1, 0, 3, 3] = torch.nan
    assert ciede2000(spoiled, truth).isnan().tolist() == [False, True]
