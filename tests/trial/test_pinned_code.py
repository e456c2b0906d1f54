"""Own code that changed since a trial or a comparison was begun is refused, and named."""

import sys
import tomllib

import pytest

from lossarium.cli.main import main
from lossarium.training.configuration import Recipe
from lossarium.trial.pinned_code import own_code
from tests.cli.folders import pair

JUDGE = "def darkness(prediction, truth):\n    return (truth - prediction).abs().mean(dim=(1, 2, 3))\n"
LIST = ("--judges", "ssim,pinned_judge:darkness")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two identities, and a judge in the current folder that is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "pinned_judge.py").write_text(JUDGE)
    yield list(map(str, pair(tmp_path)))
    sys.modules.pop("pinned_judge", None)


def run(command, folders, *options):
    quick = ["--size", "32", "--batch-size", "2", "--out", "out"]
    return main([command, *folders, *quick, *LIST, *options])


def train(folders, steps, *options):
    return run("train", folders, "--loss", "mse", "--preview-every", "0", "--steps", str(steps), *options)


def test_a_changed_judge_is_named_and_refused_until_it_is_put_back_or_allowed(folders, tmp_path, capsys):
    source, settings = tmp_path / "pinned_judge.py", tmp_path / "out" / "trial.toml"
    assert train(folders, 2) == 0
    begun = tomllib.loads(settings.read_text())["own_code"]
    assert list(begun) == ["pinned_judge:darkness"]
    source.write_text(JUDGE + "# changed\n")
    before = settings.read_bytes()
    assert train(folders, 4) == 2
    said = capsys.readouterr().err
    assert f"{source} (the judge pinned_judge:darkness) changed since" in said
    assert "put back what it was begun with, or add --any-environment" in said
    assert settings.read_bytes() == before
    # What is finished stays as it is.
    assert train(folders, 2) == 0
    assert train(folders, 4, "--any-environment") == 0
    table = tomllib.loads(settings.read_text())
    assert table["own_code"] == begun
    assert table["continued"][0]["own_code"] != begun
    # From here on the changed code is what the trial goes on with.
    assert train(folders, 5) == 0
    source.write_text(JUDGE)
    assert train(folders, 6) == 2


def test_a_comparison_refuses_more_trials_with_a_changed_judge(folders, tmp_path, capsys):
    quick = ("--losses", "mse,mae", "--steps", "2")
    assert run("compare", folders, *quick, "--seeds", "1") == 0
    source = tmp_path / "pinned_judge.py"
    source.write_text(JUDGE + "# changed\n")
    assert run("compare", folders, *quick, "--seeds", "1") == 0
    assert run("compare", folders, *quick, "--seeds", "2") == 2
    assert f"{source} (the judge pinned_judge:darkness) changed since" in capsys.readouterr().err
    source.write_text(JUDGE)
    assert run("compare", folders, *quick, "--seeds", "2") == 0


def test_code_without_a_source_file_has_an_empty_digest():
    assert own_code(Recipe(judges=("ssim", "math:hypot")), ["mse"]) == {"math:hypot": ""}
    assert own_code(Recipe(), ["0.5*ssim(window=7) + mae"]) == {}


def test_a_loss_added_to_a_comparison_is_pinned_too(folders, tmp_path, capsys):
    source = tmp_path / "pinned_loss.py"
    source.write_text("def far(input, target):\n    return (input - target).square().mean()\n")
    quick = ["--steps", "2", "--size", "32", "--batch-size", "2", "--out", "compared"]
    try:
        assert main(["compare", *folders, *quick, "--losses", "mse"]) == 0
        both = "mse, mae + 0.5*pinned_loss:far"
        assert main(["compare", *folders, *quick, "--losses", both]) == 0
        table = tomllib.loads((tmp_path / "compared" / "comparison.toml").read_text())
        assert list(table["own_code"]) == ["pinned_loss:far"]
        source.write_text(source.read_text() + "# changed\n")
        assert main(["compare", *folders, *quick, "--losses", both, "--seeds", "2"]) == 2
        assert f"{source} (the loss pinned_loss:far) changed since" in capsys.readouterr().err
    finally:
        sys.modules.pop("pinned_loss", None)
