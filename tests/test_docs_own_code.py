"""The code templates of the documentation run as they are."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.judging import own_judges
from lossarium.judging.held_out import directions, score
from lossarium.judging.judges import judge, judges_of
from lossarium.models import own_models
from lossarium.models.registry import all_options, initial_model, names
from lossarium.swapping.trained import load_trained
from lossarium.training import records
from lossarium.training.callbacks import Callbacks
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.keeping import Keeping
from lossarium.trial.run import run_trial
from tests.facesets.examples import blobs

DOCS = Path(__file__).parents[1] / "docs"


def templates(page):
    return re.findall(
        r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(own_judges, "_registered", {})
    monkeypatch.setattr(own_models, "_registered", {})
    own_judges.own_judge.cache_clear()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("mine"):
            del sys.modules[name]
    own_judges.own_judge.cache_clear()


def test_the_model_of_the_page_trains_is_judged_and_resumes(folder):
    (folder / "mine.py").write_text(templates("own-models.md")[0])
    pair = blobs("ada", states=True), blobs("ben", seed=5, states=True)
    recipe = Recipe(
        steps=4,
        size=32,
        batch_size=2,
        snapshots=2,
        model="mine:Small",
        model_options=all_options("mine:Small", {"width": 8}),
        judges=("psnr", "ssim"),
    )
    trial = Trial("mse", 0, recipe)

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.step == 2:
            raise StoppedError

    run_trial(trial, pair, folder / "whole", Callbacks(), Keeping())
    with pytest.raises(StoppedError):
        run_trial(trial, pair, folder / "broken", Callbacks(stop), Keeping())
    run_trial(trial, pair, folder / "broken", Callbacks(), Keeping())
    whole, broken = (list(records.read(folder / name)) for name in ("whole", "broken"))
    assert whole[-1]["weights"] == broken[-1]["weights"]
    held_out = [row["held_out"] for row in whole if "held_out" in row]
    assert set(held_out[-1]) == {"reconstruction/psnr", "reconstruction/ssim", "swap/psnr", "swap/ssim"}
    options = tomllib.loads((folder / "whole" / "trial.toml").read_text())["recipe"]["model_options"]
    assert options == {"width": 8, "dropout": 0.1}

    # The swap uses what was judged: the weights and the running statistics of the last step.
    with pytest.raises(LossariumError, match="name it with --own-model"):
        load_trained(folder / "whole")
    trained = load_trained(folder / "whole", own_model="mine:Small")
    held = directions(*pair)
    assert score(trained.model, held, judges_of(recipe.judges)) == held_out[-1]


def test_weights_of_an_own_model_are_taken_with_the_option_that_the_refusal_names(folder, capsys):
    (folder / "mine.py").write_text(templates("own-models.md")[0])
    quick = ["--steps", "1", "--size", "32", "--batch-size", "2", "--preview-every", "0", "--loss", "mse"]
    assert main(["train", "demo", *quick, "--model", "mine:Small", "--out", "first"]) == 0
    capsys.readouterr()
    assert main(["train", "demo", *quick, "--from", "first", "--out", "second"]) == 2
    assert "if you trust that code, name it with --model\n" in capsys.readouterr().err
    assert not (folder / "second" / "trial.toml").exists()
    more = ["--from", "first", "--out", "second", "--model", "mine:Small"]
    assert main(["train", "demo", *quick, *more]) == 0


def test_the_model_of_the_page_is_listed_with_its_options(folder, capsys):
    (folder / "mine.py").write_text(templates("own-models.md")[0])
    assert main(["models", "mine:Small"]) == 0
    printed = capsys.readouterr().out
    assert "mine:Small" in printed
    assert "width=32" in printed
    assert "dropout=0.1" in printed


def test_the_registered_model_of_the_page_is_known_by_its_name(folder):
    del folder
    exec(templates("own-models.md")[1], {"__name__": "mine_registered"})
    assert names()[-1] == "Identity"
    pictures = torch.rand(2, 1, 3, 32, 32)
    model = initial_model("Identity", size=32, identities=2, seed=0)
    assert torch.equal(model(pictures, (1, 0)), pictures)


def test_the_judges_of_the_page_score(folder, capsys):
    first, second, registering = templates("own-judges.md")
    (folder / "mine.py").write_text(f"{first}\n\n{second}\n\n{registering}")
    judges = judges_of(["mine:edges", "mine:sharpness", "mine:closeness"])
    pair = directions(blobs("ada", states=True), blobs("ben", seed=5, states=True))
    model = initial_model("compact", size=32, identities=2, seed=0)
    scores = score(model, pair, judges)
    assert len(scores["swap/mine:edges"]) == len(scores["reconstruction/mine:sharpness"]) == 10
    assert (judges[1].unit, judges[1].digits, judges[1].higher_is_better) == ("%", 1, True)
    assert judge("closeness").is_home_of("mae")
    assert main(["judges", "mine:edges", "mine:sharpness"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "mine:edges" in printed
    assert "closeness" in printed


def test_a_users_own_judge_votes_steers_and_is_recorded(folder, capsys):
    (folder / "mine.py").write_text(templates("own-judges.md")[0])
    command = [
        "compare",
        "--seeds",
        "1",
        "demo",
        "--losses",
        "mse, mae",
        "--steps",
        "2",
        "--size",
        "32",
        "--batch-size",
        "2",
    ]
    mine = [*command, "--judges", "psnr, mine:edges", "--judge", "mine:edges", "--out", "out"]
    assert main(mine) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "edges ↓" in printed
    out = folder / "out"
    verdict = json.loads((out / "verdict.json").read_text())
    assert set(verdict["values"]) == {
        f"{task}/{name}" for task in ("reconstruction", "swap") for name in ("psnr", "mine:edges")
    }
    assert {one["score"] for pair in verdict["pairs"] for one in pair["differences"]} == set(
        verdict["values"]
    )
    assert "Mean error of the differences between neighbouring pixels." in (out / "report.html").read_text()
    for path in (out / "comparison.toml", out / "trials" / "mse-seed0" / "trial.toml"):
        recipe = tomllib.loads(path.read_text())["recipe"]
        assert (recipe["judge"], recipe["judges"]) == ("mine:edges", ["psnr", "mine:edges"])
    assert main(mine) == 0
    capsys.readouterr()
    assert main([*command, "--out", "out"]) == 2
    assert "judges: psnr, mine:edges there, psnr, mae, ssim, lpips now" in capsys.readouterr().err


def test_a_judge_that_breaks_the_contract_is_refused_before_anything_is_written(folder, capsys):
    (folder / "mine.py").write_text("def judge(prediction, truth):\n    return (prediction - truth).mean()\n")
    for command in ("compare", "train"):
        assert main([command, "demo", "--steps", "2", "--size", "32", "--judges", "mine:judge"]) == 2
        told = capsys.readouterr().err
        assert "the judge mine:judge gives values of shape ()" in told
    assert {path.name for path in folder.iterdir()} <= {"mine.py", "__pycache__"}


def test_the_losses_of_the_page_are_listed_and_train(folder, capsys):
    usage, function, made, registering = templates("losses.md")
    (folder / "mine.py").write_text(f"{function}\n\n{made}")
    (folder / "mine_registered.py").write_text(registering.partition("\n\n\nlosses.get")[0])
    exec(usage, {"__name__": "usage_of_the_page"})
    assert main(["losses", "--no-cost", "mine:loss", "mine:Blurred", "mine_registered:loss"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Errors to the power of k" in printed
    assert "Squared errors of blurred pictures." in printed
    assert "outliers" in printed
    assert main(["explain", "mine:Blurred(side=9)"]) == 0
    assert "Default: 5." in capsys.readouterr().out
    specs = "mine:loss, mine:Blurred(side=3), torch.nn:SmoothL1Loss(beta=0.1), mine_registered:loss"
    quick = ["--steps", "2", "--size", "32", "--batch-size", "2", "--judges", "psnr", "--out", "out"]
    assert main(["compare", "--seeds", "1", "demo", "--losses", specs, *quick]) == 0
    table = tomllib.loads((folder / "out" / "comparison.toml").read_text())
    assert table["losses"] == specs.split(", ")


def test_a_trial_with_a_loss_of_the_page_that_is_a_class_resumes_exactly(folder):
    (folder / "mine.py").write_text(templates("losses.md")[2])
    pair = blobs("ada"), blobs("ben", seed=5)
    trial = Trial("mine:Blurred(side=3)", 0, Recipe(steps=4, size=32, batch_size=2, snapshots=2))

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.step == 2:
            raise StoppedError

    run_trial(trial, pair, folder / "whole", Callbacks(), Keeping())
    with pytest.raises(StoppedError):
        run_trial(trial, pair, folder / "broken", Callbacks(stop), Keeping())
    run_trial(trial, pair, folder / "broken", Callbacks(), Keeping())
    whole, broken = (list(records.read(folder / name)) for name in ("whole", "broken"))
    assert whole[-1]["weights"] == broken[-1]["weights"]
