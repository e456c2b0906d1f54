"""A comparison writes down which judges are home to which losses, and keeps to it."""

import json
import tomllib

import pytest
import tomli_w

from lossarium.comparison.plan import Plan
from lossarium.comparison.protocol import compare
from lossarium.judging import home
from lossarium.judging.home import homes_of
from lossarium.judging.judges import judges_of
from lossarium.training.configuration import Recipe
from tests.facesets.examples import blobs

PAIR = (blobs("ada"), blobs("ben", seed=5))
JUDGES = ("psnr", "ssim")
RECIPE = Recipe(steps=2, size=32, batch_size=2, snapshots=1, judges=JUDGES)


def compared(out, *losses, recipe=RECIPE):
    return compare(Plan(losses, 1, recipe), PAIR, out, watch=lambda _: None)


@pytest.fixture
def out(tmp_path):
    """A finished comparison of two losses."""
    compared(tmp_path, "mse", "ssim")
    return tmp_path


def changed(out, change):
    """Change `comparison.toml`, and its copy, as an earlier version or another machine would have written
    it."""
    table = tomllib.loads((out / "comparison.toml").read_text())
    change(table)
    for name in ("comparison.toml", ".comparison.toml.copy"):
        (out / name).write_text(tomli_w.dumps(table))


def recorded(out):
    return tomllib.loads((out / "comparison.toml").read_text())["homes"]


def test_homes_reach_the_verdict_and_its_file(out):
    result = compared(out, "mse", "ssim")
    assert result.verdict.home == {"reconstruction/psnr": ("mse",), "reconstruction/ssim": ("ssim",)}
    assert result.homes == homes_of(["mse", "ssim"], judges_of(JUDGES))
    assert [pair["relation"] for pair in json.loads((out / "verdict.json").read_text())["pairs"]] == [
        "unjudged"
    ]


def test_what_is_recorded_holds_and_only_an_added_loss_is_looked_up(out, monkeypatch):
    changed(out, lambda table: table["homes"]["mse"].update(psnr={"home": False, "cosine": 0.69}))
    asked = []
    monkeypatch.setattr(
        "lossarium.comparison.protocol.homes_of",
        lambda losses, judges: asked.append(losses) or home.homes_of(losses, judges),
    )
    result = compared(out, "mse", "ssim", "mae")
    assert asked == [["mae"]]
    assert result.verdict.home["reconstruction/psnr"] == ("mae",)
    assert recorded(out)["mse"]["psnr"] == {"home": False, "cosine": 0.69}


def test_the_comparison_of_an_earlier_version_gets_its_homes(out):
    before = recorded(out)
    changed(out, lambda table: table.pop("homes"))
    result = compared(out, "mse", "ssim")
    assert recorded(out) == before
    assert result.verdict.home["reconstruction/ssim"] == ("ssim",)


def test_a_judge_whose_homes_cannot_be_measured_is_named_in_the_verdict(tmp_path):
    counted = "tests.judging.own_judges:counted"
    recipe = Recipe(steps=1, size=32, batch_size=2, snapshots=1, judges=("psnr", counted), judge="psnr")
    result = compared(tmp_path, "mse", "mae", recipe=recipe)
    assert result.verdict.home[f"reconstruction/{counted}"] == ("mae",)
    (said,) = [caveat for caveat in result.verdict.caveats if counted in caveat]
    assert said.startswith(f"Whether {counted} favours mse and mae could not be measured")
    assert not [caveat for caveat in result.verdict.caveats if "Whether psnr" in caveat]
