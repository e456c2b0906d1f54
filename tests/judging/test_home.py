"""Judges are home to losses whose weight gradient points the same way, as measured."""

import tomllib
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import tomli_w
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.judging import home
from lossarium.judging.gradient_cosines import Cosine, cosines
from lossarium.judging.home import THRESHOLD, Home, as_table, from_table, homes_of, table
from lossarium.judging.judges import DEFAULT_JUDGES, judge, judges_of
from lossarium.judging.measure_homes import markdown, measurable, missing
from lossarium.losses.spec import parse

# What other processors do to a cosine of float32 gradients in one state: between AVX-512 and no vectors it
# was 3.3e-4 at most, except for MDSI, whose powers of small numbers have steep gradients (0.11 in one state).
OF_PROCESSORS = 1e-3
OWN = "tests.judging.own_judges"


def homes(*specs, judges=DEFAULT_JUDGES):
    """Loss -> the judges that are home to it."""
    found = homes_of(specs, judges)
    return {spec: {name for name, one in found[spec].items() if one.home} for spec in specs}


@pytest.fixture
def nothing_is_measured(monkeypatch):
    def refused(*_):
        raise AssertionError("something is measured that the table has")

    monkeypatch.setattr(home, "cosines", refused)


def test_every_built_in_loss_and_judge_is_in_the_table():
    assert not missing(), "run python -m lossarium.judging.measure_homes"


def test_the_page_shows_the_table():
    page = Path(__file__).parents[2] / "docs" / "comparison.md"
    assert markdown() in page.read_text(encoding="utf-8"), "run python -m lossarium.judging.measure_homes"


def test_the_table_is_what_is_measured_here():
    # Both are rounded to two decimals.
    rounding = 0.01
    again = ("mse", "flip", "ms_ssim", "ssim + mae")
    judges = [one for one in measurable() if one.name != "mdsi"]
    for loss, row in cosines([parse(loss) for loss in again], judges).items():
        shipped = table()[loss]
        assert set(row) == set(shipped) - {"mdsi"}
        for name, cosine in row.items():
            for number, expected in zip(astuple(cosine), astuple(shipped[name]), strict=True):
                assert number == pytest.approx(expected, abs=rounding + OF_PROCESSORS)


@pytest.mark.usefixtures("nothing_is_measured")
def test_psnr_and_mae_are_one_home_for_losses_of_pixel_values():
    pixel = {name for name in losses.names() if losses.info(name).family == "pixel"}
    trained = [name for name in pixel if losses.info(name).objective]
    for loss, found in homes(*trained).items():
        # The largest error is one pixel's: its gradient has little to do with a mean's.
        assert found == (set() if loss == "linf" else {"psnr", "mae"}), loss


@pytest.mark.usefixtures("nothing_is_measured")
def test_other_losses_that_are_errors_of_pixels_in_disguise_are_caught():
    assert list(homes("flip", "laplacian", "ffl").values()) == 3 * [{"psnr", "mae"}]


@pytest.mark.usefixtures("nothing_is_measured")
def test_a_judge_is_home_to_its_own_loss_and_to_what_its_declaration_names():
    found = homes("ssim", "lpips", "ms_ssim", "uqi")
    assert found["lpips"] == {"lpips"}
    assert all("ssim" in found[loss] for loss in ("ssim", "ms_ssim", "uqi"))
    assert table()["ms_ssim"]["ssim"].median < THRESHOLD


@pytest.mark.usefixtures("nothing_is_measured")
def test_factors_and_default_options_do_not_change_a_home():
    plain = homes_of(["mse", "smooth_l1"], DEFAULT_JUDGES)
    others = homes_of(["3*mse", "0.5*smooth_l1(beta=0.05)"], DEFAULT_JUDGES)
    assert list(others.values()) == list(plain.values())


def test_options_are_measured():
    # By Parseval's theorem the focal frequency loss without its weights is the mean squared error.
    found = homes_of(["ffl(alpha=0)"], DEFAULT_JUDGES)["ffl(alpha=0)"]
    assert {name: one.home for name, one in found.items()} == {
        "psnr": True, "mae": True, "ssim": False, "lpips": False,
    }  # fmt: skip
    # Both figures are rounded to two decimals.
    for name, one in found.items():
        assert one.cosine == pytest.approx(table()["mse"][name].median, abs=0.01 + OF_PROCESSORS)


def test_a_sum_is_measured_as_the_sum_that_it_is():
    found = homes("ssim + 0.001*mae", "0.001*ssim + mae", "0.001*ms_ssim + mae", "ms_ssim + 0.001*mae")
    assert found == {
        "ssim + 0.001*mae": {"ssim"},
        "0.001*ssim + mae": {"psnr", "mae"},
        # Named relatives count where they dominate.
        "0.001*ms_ssim + mae": {"psnr", "mae"},
        "ms_ssim + 0.001*mae": {"ssim"},
    }


def test_a_judge_without_a_gradient_is_home_to_what_it_names():
    judges = judges_of([f"{OWN}:{name}" for name in ("counted", "from_numpy")])
    for one in judges:
        found = homes_of(["mse", "ssim + mae"], [one])
        assert found == {"mse": {one.name: Home(False, None)}, "ssim + mae": {one.name: Home(True, None)}}


def test_an_own_judge_is_measured():
    found = homes("mse", "ssim", judges=judges_of([f"{OWN}:squared"]))
    assert found == {"mse": {f"{OWN}:squared"}, "ssim": set()}


def test_an_own_loss_is_measured():
    assert homes(f"{OWN}:squared_loss") == {f"{OWN}:squared_loss": {"psnr", "mae"}}


def test_near_the_threshold_the_rounded_cosine_decides():
    assert Cosine.over([0.6949, 0.6949]) == Cosine(0.69, 0.69, 0.69)
    assert Cosine.over([0.6951, 0.6951, 0.1, 0.9]) == Cosine(0.7, 0.1, 0.9)
    assert Cosine.over([float("nan"), 0.5]) == Cosine(0.5, 0.5, 0.5)
    assert Cosine.over([float("nan")]) is None


def test_measuring_changes_neither_random_state_nor_modes():
    before = torch.get_rng_state()
    with torch.inference_mode():
        cosines([parse("mse")], [judge("psnr")])
    assert torch.equal(before, torch.get_rng_state())


def test_homes_are_the_same_after_a_file():
    found = homes_of(["mse", "ssim + mae"], DEFAULT_JUDGES)
    found["mse"]["mine"] = Home(True, None)
    assert from_table(tomllib.loads(tomli_w.dumps(as_table(found)))) == found


@pytest.mark.parametrize("damaged", [{"mse": 1}, {"mse": {"psnr": {}}}, {"mse": {"psnr": 1}}])
def test_a_damaged_table_is_an_error_that_says_what_to_do(damaged):
    with pytest.raises(LossariumError, match=r"home judges in comparison\.toml is damaged; remove"):
        from_table(damaged)


def test_the_reason_tells_measured_from_named():
    assert "cosine 0.93" in Home(True, 0.93).reason()
    assert "relative" in replace(Home(True, 0.93), cosine=0.5).reason()
    assert "names" in Home(True, None).reason()
