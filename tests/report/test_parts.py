"""Numbers as text, colours, sprites."""

import base64
import io
import math
import re
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image

from lossarium.report.formatting import format_difference, format_value
from lossarium.report.palette import DARK, LIGHT, contrast, ink_on
from lossarium.report.pictures import data_uri, snapshot_sprite, sprites_of, truth_sprite
from tests.bounds import rounding_error
from tests.report.example import example_result, preview_rows


def decoded(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (24.104, 2, "24.10"),
        (-0.5, 1, "\N{MINUS SIGN}0.5"),
        (-0.001, 2, "0.00"),
        (math.nan, 2, "\N{EN DASH}"),
        (math.inf, 2, "∞"),
        (-math.inf, 2, "\N{MINUS SIGN}∞"),
    ],
)
def test_values_are_formatted_with_their_decimals(value: float, digits: int, text: str) -> None:
    assert format_value(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.12, "+0.12"), (-0.12, "\N{MINUS SIGN}0.12"), (0.001, "0.00"), (0.0, "0.00")]
)
def test_differences_carry_their_sign(value: float, text: str) -> None:
    assert format_difference(value, 2) == text


def theme_colours(theme: str) -> dict[str, str]:
    """The colours that the style sheet sets: the first `:root` is light, the second dark."""
    css = resources.files("lossarium.report").joinpath("report.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[("light", "dark").index(theme)]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "page"),
        ("ink", "surface"),
        ("ink", "accent-soft"),
        ("muted", "page"),
        ("muted", "surface"),
        ("muted", "accent-soft"),
        ("muted", "raised"),
        ("accent", "surface"),
        ("accent", "page"),
        ("surface", "accent"),
        ("calm", "surface"),
        ("alarm", "alarm-soft"),
        ("surface", "alarm"),
    ],
)
def test_text_contrasts_with_its_ground(theme: str, ink: str, ground: str) -> None:
    colours = theme_colours(theme)
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize(("theme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_lines_contrast_with_their_ground_and_numbers_with_their_badge(
    theme: str, palette: tuple[str, ...]
) -> None:
    assert len(set(palette)) == len(palette) >= 12
    for colour in palette:
        assert contrast(colour, theme_colours(theme)["surface"]) >= 3
        assert contrast(ink_on(colour), colour) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21, rel=rounding_error(16, torch.float64))
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # published to two places


def test_sprites_keep_every_pixel_in_its_place() -> None:
    result = example_result(losses=("mse",), rows=3, size=16, moments=2)
    snapshot = result.trials[0].snapshots[1]
    sprites, exact = sprites_of(result)
    assert exact
    picture = decoded(sprites[0][1])
    assert np.array_equal(picture, snapshot_sprite(snapshot))
    assert np.array_equal(picture[16:32, :16], snapshot.reconstructions[1])
    assert np.array_equal(picture[32:48, 16:], snapshot.swaps[2])


def test_over_the_budget_the_last_snapshot_stays_exact() -> None:
    result = example_result(losses=("mse", "mae"), rows=3, size=32, moments=3)
    sprites, exact = sprites_of(result, budget=1000)
    assert not exact
    for trial, kept in zip(result.trials, sprites, strict=True):
        assert np.array_equal(decoded(kept[-1]), snapshot_sprite(trial.snapshots[-1]))
        early = snapshot_sprite(trial.snapshots[0]).astype(float)
        assert 0 < np.abs(decoded(kept[0]) - early).mean() < 10


def test_unknown_exact_swaps_are_black() -> None:
    rows = preview_rows(2, 16, False, ("ada", "ben"))
    sprite = truth_sprite(rows)
    assert np.array_equal(sprite[16:, :16], rows[1].frame)
    assert not sprite[:, 16:].any()


def test_a_picture_too_tall_for_webp_is_a_png() -> None:
    tall = np.zeros((16_400, 2, 3), np.uint8)
    assert data_uri(tall).startswith("data:image/png")
    assert data_uri(tall[:100]).startswith("data:image/webp")
