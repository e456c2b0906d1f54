"""Own code that changed since a trial or a comparison was begun is refused, and named."""

import json
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
    assert {name: list(files) for name, files in begun.items()} == {
        "pinned_judge:darkness": ["pinned_judge.py"]
    }
    source.write_text(JUDGE + "# changed\n")
    before = settings.read_bytes()
    assert train(folders, 4) == 2
    said = capsys.readouterr().err
    assert f"{source} (the judge pinned_judge:darkness) changed since" in said
    assert "put back what it was begun with, or add --any-environment" in said
    assert settings.read_bytes() == before
    # A finished trial is not changed.
    assert train(folders, 2) == 0
    assert train(folders, 4, "--any-environment") == 0
    table = tomllib.loads(settings.read_text())
    assert table["own_code"] == begun
    assert table["continued"][0]["own_code"] != begun
    # From here on the changed code is the trial's own.
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
    assert own_code(Recipe(judges=("ssim", "math:hypot")), ["mse"]) == {"math:hypot": {}}
    assert own_code(Recipe(), ["0.5*ssim(window=7) + mae"]) == {}


def test_a_loss_added_to_a_comparison_is_pinned_too(folders, tmp_path, capsys):
    source = tmp_path / "pinned_loss.py"
    source.write_text("def far(input, target):\n    return (input - target).square().mean()\n")
    quick = ["--steps", "2", "--size", "32", "--batch-size", "2", "--out", "compared"]
    try:
        assert main(["compare", "--seeds", "1", *folders, *quick, "--losses", "mse"]) == 0
        both = "mse, mae + 0.5*pinned_loss:far"
        assert main(["compare", "--seeds", "1", *folders, *quick, "--losses", both]) == 0
        table = tomllib.loads((tmp_path / "compared" / "comparison.toml").read_text())
        assert list(table["own_code"]) == ["pinned_loss:far"]
        source.write_text(source.read_text() + "# changed\n")
        assert main(["compare", *folders, *quick, "--losses", both, "--seeds", "2"]) == 2
        assert f"{source} (the loss pinned_loss:far) changed since" in capsys.readouterr().err
    finally:
        sys.modules.pop("pinned_loss", None)


def test_a_module_that_a_loss_imports_is_pinned_too_and_named(folders, tmp_path, capsys):
    (tmp_path / "pinned_loss.py").write_text(
        "from pinned_parts import scale\ndef far(input, target):\n    return scale(input - target).square()\n"
    )
    parts = tmp_path / "pinned_parts.py"
    parts.write_text("def scale(errors):\n    return 2 * errors\n")
    command = [
        "train",
        *folders,
        "--loss",
        "pinned_loss:far",
        "--size",
        "32",
        "--batch-size",
        "2",
        "--out",
        "out",
    ]
    try:
        assert main([*command, "--steps", "1"]) == 0
        table = tomllib.loads((tmp_path / "out" / "trial.toml").read_text())
        assert list(table["own_code"]["pinned_loss:far"]) == ["pinned_loss.py", "pinned_parts.py"]
        parts.write_text(parts.read_text().replace("2", "3"))
        assert main([*command, "--steps", "2"]) == 2
        assert f"{parts} (the loss pinned_loss:far) changed since" in capsys.readouterr().err
    finally:
        for module in ("pinned_loss", "pinned_parts"):
            sys.modules.pop(module, None)


def test_a_loss_that_is_set_while_the_trial_runs_is_pinned_from_there_on(folders, tmp_path, capsys):
    source, settings = tmp_path / "pinned_loss.py", tmp_path / "out" / "trial.toml"
    source.write_text("def far(input, target, *, k: float = 2.0):\n    return (input - target).abs() ** k\n")
    command = ["train", *folders, "--loss", "mse", "--size", "32", "--batch-size", "2", "--out", "out"]
    try:
        assert main([*command, "--steps", "1"]) == 0
        (tmp_path / "out" / "control.toml").write_text('loss = "mae + pinned_loss:far(k=3)"\n')
        assert main([*command, "--steps", "2"]) == 0
        change = json.loads((tmp_path / "out" / "control.jsonl").read_text())
        assert list(change["own_code"]) == ["pinned_loss:far"]
        assert main([*command, "--steps", "3"]) == 0
        source.write_text(source.read_text() + "# changed\n")
        capsys.readouterr()
        assert main([*command, "--steps", "4"]) == 2
        assert f"{source} (the loss pinned_loss:far) changed since" in capsys.readouterr().err
        assert main([*command, "--steps", "4", "--any-environment"]) == 0
        # The code it was continued with is compared from there on.
        assert list(tomllib.loads(settings.read_text())["continued"][-1]["own_code"]) == ["pinned_loss:far"]
        assert main([*command, "--steps", "5"]) == 0
        source.unlink()
        sys.modules.pop("pinned_loss")
        capsys.readouterr()
        assert main([*command, "--steps", "6"]) == 2
        told = capsys.readouterr().err
        assert "control.jsonl sets an own loss in line 1, and cannot import the loss" in told
        assert "damaged" not in told
    finally:
        sys.modules.pop("pinned_loss", None)
