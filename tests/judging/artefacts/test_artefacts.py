"""What measures artefacts, on artefacts of known strength in clean pictures."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from scipy.stats import spearmanr

from lossarium.judging.artefacts import planting
from lossarium.judging.artefacts.built_in import ARTEFACTS
from lossarium.judging.ciede2000 import ciede2000
from tests.judging.artefacts.pictures import as_jpeg, clean_copies, faces, in_8_bits, photographs

BY_NAME = {one.name: one for one in ARTEFACTS}
LEVELS = (1, 1.5, 2, 3, 4, 6, 8, 12)
SHARES = (0.15, 0.25, 0.35, 0.45, 0.6, 0.75, 0.9, 1)
# What is planted -> (whose it is, how, how strong).
PLANTED = {
    "checkerboard of 2": ("grid", partial(planting.checkerboard, period=2), LEVELS),
    "checkerboard of 4": ("grid", partial(planting.checkerboard, period=4), LEVELS),
    "checkerboard of 8": ("grid", partial(planting.checkerboard, period=8), LEVELS),
    "checkerboard of 5": ("grid", partial(planting.checkerboard, period=5), LEVELS),
    "lines every 8": ("grid", planting.lines, LEVELS),
    "tint": ("colour_shift", planting.tint, LEVELS),
    "tint of a half": ("colour_shift", planting.local_tint, LEVELS),
    "Gaussian blur": ("blur", planting.gaussian_blur, (0.4, 0.6, 0.8, 1, 1.4, 2, 2.8, 4)),
    "unsharp mask": ("ringing", planting.unsharp_mask, SHARES),
    "sharp low-pass": ("ringing", planting.sharp_low_pass, SHARES),
    "low-pass at 0.3": ("ringing", partial(planting.sharp_low_pass, cutoff=0.3), SHARES),
    "5 spots a side": ("blotches", planting.smooth_spots, LEVELS),
    "3 spots a side": ("blotches", partial(planting.smooth_spots, spots=3), LEVELS),
}
each_artefact = pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda one: one.name)
each_planted = pytest.mark.parametrize("planted", PLANTED)


def truths(size):
    return torch.cat([faces(5, size), photographs(size)])


def correlations(figures, strengths: Sequence[float]):
    """Spearman's rank correlation with the strength, picture by picture; figures are (strengths, N)."""
    return [spearmanr(strengths, one).statistic for one in figures.T.tolist()]


@each_planted
@pytest.mark.parametrize("size", [64, 128])
def test_the_figure_ranks_pictures_by_the_strength_of_what_was_planted(planted, size):
    name, plant, strengths = PLANTED[planted]
    truth = truths(size)
    figures = torch.stack(
        [BY_NAME[name].figure(in_8_bits(plant(truth, one, 3)), truth, None) for one in strengths]
    )
    if planted == "sharp low-pass" and size == 64:
        assert (figures.diff(dim=0) >= 0).all()
        # The busiest photograph has no flat place beside an edge at this size: echoes in it show from half of
        # the full strength on, and the weakest four all have the figure 0.
        figures = figures[:, [0, 1, 2, 3, 4, 6, 7, 8, 9]]
    assert min(correlations(figures, strengths)) >= 0.95


@pytest.mark.parametrize("planted", [name for name in PLANTED if "low-pass" not in name])
def test_the_figure_ranks_pictures_of_32_pixels_and_within_masks(planted):
    name, plant, strengths = PLANTED[planted]
    for truth, weight in ((truths(32), None), (truths(64), disc(10, 64))):
        figures = torch.stack(
            [BY_NAME[name].figure(in_8_bits(plant(truth, one, 3)), truth, weight) for one in strengths]
        )
        assert min(correlations(figures, strengths)) >= 0.95


@pytest.mark.parametrize("size", [32, 64, 128])
def test_clean_pictures_raise_at_most_one_false_alarm_in_a_hundred(size):
    copies = [clean_copies(truth) for truth in (faces(24, size), photographs(size))]
    truth = torch.cat([one["equal"] for one in copies for _ in one])
    clean = torch.cat([copy for one in copies for copy in one.values()])
    assert len(clean) > 200
    for artefact in ARTEFACTS:
        alarms = artefact.figure(clean, truth, None) >= artefact.seen
        assert alarms.double().mean() <= 0.01, artefact.name


def as_visible(plant, truth, difference=3.0):
    """Artefacts planted as strongly as gives a mean CIEDE2000, picture by picture (found by bisection)."""
    low, high = torch.zeros(len(truth)), torch.full((len(truth),), 64.0)
    for _ in range(12):
        middle = (low + high) / 2
        planted = torch.cat(
            [plant(one[None], strength, 3) for one, strength in zip(truth, middle.tolist(), strict=True)]
        )
        above = ciede2000(planted, truth) > difference
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return in_8_bits(planted)


# A low-pass that keeps 0.3 cycles a pixel hardly rings.
@pytest.mark.parametrize("planted", [name for name in PLANTED if name != "low-pass at 0.3"])
def test_an_artefact_is_seen_by_its_own_figure_more_than_by_the_others(planted):
    name, plant, _ = PLANTED[planted]
    truth = faces(5, 64)
    prediction = as_visible(plant, truth) if name != "ringing" else in_8_bits(plant(truth, 1.0, 3))
    seen = {one.name: (one.figure(prediction, truth, None) / one.seen).median() for one in ARTEFACTS}
    # An ideal low-pass is a blur, too.
    others = {other for other in seen if other != name and not (other == "blur" and "low-pass" in planted)}
    assert seen[name] >= 1
    assert all(seen[other] < seen[name] for other in others)


def test_strong_jpeg_shows_as_a_grid_of_blocks():
    truth = truths(128)
    strong, weak, fine = (BY_NAME["grid"].figure(as_jpeg(truth, q), truth, None) for q in (10, 40, 95))
    assert (strong > weak).all()
    assert (strong > BY_NAME["grid"].seen).double().mean() >= 0.9
    assert (fine < BY_NAME["grid"].seen).all()


def test_a_grid_has_the_amplitude_that_was_planted():
    truth = truths(64)
    for planted in ("checkerboard of 2", "checkerboard of 4", "lines every 8"):
        prediction = PLANTED[planted][1](truth, 6.0, 3)
        # Peaks that rise less than 12-fold from the natural spectrum around them are not counted.
        assert BY_NAME["grid"].figure(prediction, truth, None) == pytest.approx(
            torch.full((10,), 6.0), rel=0.05
        )


def test_a_blurred_texture_of_stripes_is_no_grid():
    across = torch.arange(64.0)
    stripes = (0.5 + 0.3 * torch.sin(2 * torch.pi * across / 6)).expand(1, 3, 64, 64).contiguous()
    assert BY_NAME["grid"].figure(planting.gaussian_blur(stripes, 1.0, 0), stripes, None).item() == 0


def test_a_blur_has_its_standard_deviation():
    truth = truths(64)
    for sigma in (0.5, 1.0, 2.0, 3.0):
        found = BY_NAME["blur"].figure(planting.gaussian_blur(truth, sigma, 0), truth, None)
        # Between two Gaussians that are tried, a mixture of both stands for the one between.
        assert found == pytest.approx(torch.full((10,), sigma), rel=0.05)


def test_sharpening_is_no_blur():
    truth = truths(64)
    assert (BY_NAME["blur"].figure(planting.unsharp_mask(truth, 0.8, 0), truth, None) == 0).all()


def disc(count, size):
    """A soft-edged disc in the middle."""
    along = torch.linspace(-1, 1, size)
    return (4 * (0.8 - torch.hypot(along[:, None], along[None, :]))).clamp(0, 1).expand(count, 1, -1, -1)


@each_artefact
def test_equal_and_constant_pictures_have_none(artefact):
    flat = torch.full((1, 3, 32, 32), 0.5)
    black = torch.zeros(1, 3, 32, 32)
    for truth in (faces(2, 32), flat, black, black + 1):
        assert (artefact.figure(truth.clone(), truth, None) == 0).all()
        assert (artefact.figure(truth.clone(), truth, torch.zeros_like(truth[:, :1])) == 0).all()
    for prediction, truth in ((flat, black), (faces(1, 32), flat), (flat, faces(1, 32))):
        assert artefact.figure(prediction, truth, None).isfinite().all()


@each_artefact
def test_what_has_no_weight_does_not_count(artefact):
    truth = faces(3, 64)
    weight = torch.zeros(3, 1, 64, 64)
    weight[:, :, 16:48, 16:48] = 1
    spoiled = torch.where(weight > 0, truth, 1 - truth)
    assert (artefact.figure(spoiled, truth, weight) == 0).all()
    assert (artefact.figure(spoiled, truth, torch.zeros_like(weight)) == 0).all()
    # A weight says how much pixels count beside each other, and no more than that.
    prediction = in_8_bits(planting.smooth_spots(planting.unsharp_mask(truth, 0.7, 0), 8.0, 0))
    once, twice = (artefact.figure(prediction, truth, times * weight) for times in (1, 2))
    assert torch.equal(once, twice)


@each_artefact
@pytest.mark.parametrize(
    "shape", [(1, 3, 32, 32), (2, 1, 40, 64), (2, 3, 33, 47), (1, 3, 8, 8), (1, 3, 1, 1)]
)
def test_figures_and_maps_of_any_shape_are_finite_and_not_negative(artefact, shape):
    source = torch.Generator().manual_seed(0)
    truth = torch.rand(shape, generator=source)
    # A network's output leaves [0, 1].
    prediction = truth + 0.3 * torch.randn(shape, generator=source)
    weight = torch.rand(shape[0], 1, *shape[2:], generator=source)
    for given in (None, weight):
        figures, where = (
            measure(prediction, truth, given) for measure in (artefact.figure, artefact.picture)
        )
        assert figures.shape == shape[:1]
        assert where.shape == (shape[0], 1, *shape[2:])
        for values in (figures, where):
            assert values.isfinite().all()
            assert (values >= 0).all()


@each_artefact
def test_nan_and_infinity_give_nan_for_their_picture_alone(artefact):
    truth = faces(3, 32)
    prediction = planting.tint(truth, 20.0, 0)
    alone = artefact.figure(prediction, truth, None)
    prediction[1, 0, 5, 5] = torch.nan
    prediction[2, 0, 5, 5] = torch.inf
    figures = artefact.figure(prediction, truth, None)
    assert figures.isnan().tolist() == [False, True, True]
    assert artefact.picture(prediction, truth, None).isnan().flatten(1).all(1).tolist() == [False, True, True]
    assert figures[0] == alone[0]


@each_planted
def test_float32_and_a_batch_give_what_float64_and_single_pictures_give(planted):
    name, plant, strengths = PLANTED[planted]
    truth = faces(3, 64)
    prediction = in_8_bits(plant(truth, strengths[5], 0))
    figure = BY_NAME[name].figure
    figures = figure(prediction, truth, None)
    # A hundredth of the smallest difference that matters.
    small = BY_NAME[name].margin / 100
    assert figure(prediction.double(), truth.double(), None).float() == pytest.approx(figures, abs=small)
    alone = torch.cat([figure(*one, None) for one in zip(prediction.split(1), truth.split(1), strict=True)])
    assert alone == pytest.approx(figures, abs=small)


@each_artefact
def test_transposed_pictures_have_the_same_figures(artefact):
    truth = faces(3, 64)[..., :48]
    prediction = in_8_bits(planting.smooth_spots(planting.checkerboard(truth, 5.0, 0), 8.0, 0))
    figures = artefact.figure(prediction, truth, None)
    turned = artefact.figure(prediction.mT, truth.mT, None)
    assert turned == pytest.approx(figures, abs=artefact.margin / 100)


def test_the_maps_show_where_it_is():
    truth = faces(2, 64)
    weight = torch.ones(2, 1, 64, 64)
    half = torch.zeros(2, 1, 64, 64)
    half[..., 32:] = 1
    for name, plant, strength in (
        ("colour_shift", planting.tint, 12.0),
        ("blur", planting.gaussian_blur, 2.0),
        ("ringing", planting.unsharp_mask, 1.0),
        ("blotches", planting.smooth_spots, 12.0),
    ):
        prediction = torch.where(half > 0, plant(truth, strength, 0), truth)
        where = BY_NAME[name].picture(prediction, truth, weight)
        # Beside the border, blurs reach over it.
        assert (where[..., 40:].mean((1, 2, 3)) > 3 * where[..., :24].mean((1, 2, 3))).all(), name


def test_the_spectrum_shows_the_period():
    truth = faces(1, 64)
    columns = torch.arange(64) % 4 == 0
    prediction = truth + 0.02 * columns
    spectrum = BY_NAME["grid"].picture(prediction, truth, None)[0, 0]
    # Periods of 4 pixels and their first harmonic: 16 and 32 of 64 from the middle, across.
    row, column = divmod(spectrum.argmax().item(), 64)
    assert row == 32
    assert abs(column - 32) in (16, 32)
