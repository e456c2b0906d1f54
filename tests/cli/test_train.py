"""`lossarium train` and `lossarium set`: from folders to weights, interrupted and steered."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from lossarium.cli.main import main
from lossarium.facesets import memory
from lossarium.training import loop
from lossarium.training.checkpoints import position_of, read_checkpoint
from tests.cli.folders import QUICK, pair


def rows(trial):
    return [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]


def timeless(trial):
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "chain")} for row in rows(trial)
    ]


def train(parent, out, *options):
    folders = pair(parent) if not (parent / "ada").exists() else (parent / "ada", parent / "ben")
    return ["train", *map(str, folders), *QUICK, "--out", str(out), *options]


def test_training_leaves_weights_pictures_and_records(tmp_path, capsys):
    assert main(train(tmp_path, tmp_path / "out", "--loss", "mse + ssim")) == 0
    assert "Trained 6 steps" in capsys.readouterr().out
    out = tmp_path / "out"
    assert tomllib.loads((out / "trial.toml").read_text())["loss"] == "mse + ssim"
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_00000006.safetensors"]
    assert (out / "previews" / "step_00000006.png").exists()
    assert [row["step"] for row in rows(out) if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert tomllib.loads((out / "control.toml").read_text()) == {}


def test_the_best_and_every_requested_checkpoint_are_kept(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(train(tmp_path, out, "--judge", "psnr", "--keep-best", "--keep-every", "2")) == 0
    there = [path.name for path in sorted((out / "checkpoints").iterdir())]
    assert there == ["best.safetensors", "step_00000006.safetensors"]
    kept = [path.name for path in sorted((out / "snapshots").iterdir())]
    assert kept == [f"step_0000000{step}.safetensors" for step in (2, 4, 6)]
    scores = {row["step"]: row["held_out"]["reconstruction/psnr"] for row in rows(out) if "held_out" in row}
    best = max(scores, key=lambda step: sum(scores[step]))
    assert position_of(read_checkpoint(out / "checkpoints" / "best.safetensors")[0]).step == best
    capsys.readouterr()


def test_as_many_last_checkpoints_are_kept_as_requested(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(train(tmp_path, out, "--judge-every", "1", "--keep-last", "3")) == 0
    there = [path.name for path in sorted((out / "checkpoints").iterdir())]
    assert there == [f"step_0000000{step}.safetensors" for step in (4, 5, 6)]
    capsys.readouterr()


def test_a_finished_trial_is_left_unchanged_and_another_one_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(train(tmp_path, out)) == 0
    before = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"
    }
    assert main(train(tmp_path, out)) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main(train(tmp_path, out, "--loss", "mse")) == 2
    assert "other settings (loss: ssim + mae there, mse now)" in capsys.readouterr().err


def test_settings_are_written_one_after_the_other(tmp_path):
    out = tmp_path / "out"
    assert main(train(tmp_path, out, "--steps", "1")) == 0
    assert main(["set", str(out), "learning_rate=1e-5", "loss=mae"]) == 0
    assert tomllib.loads((out / "control.toml").read_text()) == {"learning_rate": 1e-5, "loss": "mae"}
    assert main(["set", str(out), "learning_rate=2e-5"]) == 0
    assert tomllib.loads((out / "control.toml").read_text()) == {"learning_rate": 2e-5, "loss": "mae"}


def test_settings_take_effect_at_the_step_after_they_are_written(tmp_path, capsys, monkeypatch):
    out, right = tmp_path / "out", loop.parts_of_step
    written = {3: ["learning_rate=1e-5", "loss=mae"], 5: ["schedule=step(every=1, factor=0.5)"]}

    def parts_of_step(batches, step, accumulation):
        if step in written:
            assert main(["set", str(out), *written[step]]) == 0
        return right(batches, step, accumulation)

    monkeypatch.setattr(loop, "parts_of_step", parts_of_step)
    assert main(train(tmp_path, out, "--loss", "mse", "--learning-rate", "1e-3")) == 0
    monkeypatch.undo()
    changes = {row["step"]: row["control"] for row in rows(out) if "control" in row}
    assert set(changes) == {4, 6}
    assert changes[4] == {"learning_rate": 1e-5, "loss": "mae"}
    assert "from step 4 on: learning_rate 1e-05, loss mae" in "".join(capsys.readouterr())
    steps = {row["step"]: row for row in rows(out) if "terms" in row}
    assert {step: list(row["terms"]) for step, row in steps.items()} == {
        **{step: ["mse"] for step in (1, 2, 3)},
        **{step: ["mae"] for step in (4, 5, 6)},
    }
    rates = [steps[step]["learning_rate"] for step in range(1, 7)]
    assert rates[:5] == [1e-3] * 3 + [1e-5] * 2
    # The schedule counts from the trial's first step.
    # Powers of 2 are exact.
    assert rates[5] == 1e-5 * 0.5**5

    # Nothing before the change differs from a trial without it, and the first step after it does.
    unchanged = tmp_path / "unchanged"
    assert main(train(tmp_path, unchanged, "--loss", "mse", "--learning-rate", "1e-3")) == 0
    same = {row["step"]: row for row in rows(unchanged) if "terms" in row}
    assert [steps[step]["loss"] for step in (1, 2, 3)] == [same[step]["loss"] for step in (1, 2, 3)]
    assert steps[4]["loss"] != same[4]["loss"]


def test_a_cache_changes_no_number_and_is_found_again(tmp_path, capsys, monkeypatch):
    out, cached = tmp_path / "out", tmp_path / "cached"
    assert main(train(tmp_path, out)) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert notes == [
        f"note: {name}: 10 trained on, 3 held out in 1 block, 2 left out beside it: the nearest frames would "
        "be too alike."
        for name in ("ada", "ben")
    ]
    # Almost no memory is free, so the default is to cache.
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    assert main(train(tmp_path, cached)) == 0
    assert "would take 0.1 MB, more than half of the 0.1 MB" in capsys.readouterr().out
    assert len(list((cached / "cache").glob("*-frames.npy"))) == 2
    assert timeless(cached) == timeless(out)
    monkeypatch.undo()
    assert main(train(tmp_path, cached)) == 0
    assert f"are taken from {cached / 'cache'}" in capsys.readouterr().out
    assert (
        main(train(tmp_path, tmp_path / "third", "--cache", "always", "--cache-folder", str(tmp_path))) == 0
    )
    assert f"are kept in {tmp_path}." in capsys.readouterr().out
    assert timeless(tmp_path / "third") == timeless(out)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("learning_rat=1", "did you mean learning_rate"),
        ("learning_rate=fast", "positive number"),
        ("loss=psnr", "psnr"),
        ("loss", "NAME=VALUE"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(tmp_path, capsys, setting, complaint):
    (tmp_path / "trial.toml").touch()
    assert main(["set", str(tmp_path), setting]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "control.toml").exists()
    assert main(["set", str(tmp_path / "elsewhere"), "learning_rate=1"]) == 2


def test_a_request_to_stop_saves_reports_it_and_training_continues_later(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lossarium.cli.main"]
    arguments = train(tmp_path, out, "--steps", "60", "--loss", "mse")
    process = subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "previews").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(random.random() * 0.2)
    process.terminate()
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, error
    assert "which is saved" in error
    whole = tmp_path / "whole"
    for folder in (out, whole):
        again = train(tmp_path, folder, "--steps", "60", "--loss", "mse")
        subprocess.run([*command, *again], env=environment, check=True, capture_output=True)
    assert timeless(out) == timeless(whole)
