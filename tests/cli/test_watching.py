"""What `lossarium train` shows and writes while it runs, none of which changes its numbers."""

import json
import re
import sys

import pytest
import torch
from PIL import Image

from lossarium.cli.main import main
from lossarium.cli.progress import training_progress
from lossarium.provenance import DIGITAL_SOURCE_TYPE, trial_digest
from lossarium.training import records
from lossarium.training.callbacks import Callbacks, Progress
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.keeping import Keeping
from lossarium.trial.run import run_trial
from lossarium.trial.view_options import ViewOptions
from tests.bounds import unit_roundoff
from tests.cli.folders import QUICK, pair
from tests.facesets.examples import blobs
from tests.swapping.marks import mark_of
from tests.trial.test_event_file import shown

TRIAL = Trial("ssim + 0.5*mae", 0, Recipe(steps=6, size=32, batch_size=2, snapshots=3))
PAIR = (blobs("ada"), blobs("ben", seed=5))


class DiedError(Exception):
    """Stands for a process that dies."""


def timeless(trial):
    rows = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "chain")} for row in rows]


def now(step=3, **changes):
    terms = {"ssim": 0.2, "0.5*mae": 0.1}
    return Progress(**{"step": step, "steps": 6, "loss": 0.3, "terms": terms} | NUMBERS | changes)


NUMBERS = {"learning_rate": 3e-5, "steps_per_second": 12.34}


@pytest.fixture
def quick_judge(monkeypatch):
    """Scores that cost nothing."""
    monkeypatch.setattr(
        "lossarium.judging.sample.score",
        lambda *_: {"reconstruction/ssim": [0.5], "swap/lpips": [0.1, 0.3]},
    )


def test_leaves_a_preview_a_timelapse_and_event_files(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", *map(str, pair(tmp_path)), *QUICK, "--out", str(out), "--tensorboard"]) == 0
    assert str(out / "timelapse.webp") in capsys.readouterr().out
    digest = trial_digest((out / "trial.toml").read_bytes(), timeless(out)[-1]["weights"])
    assert mark_of(out / "preview.png") == (DIGITAL_SOURCE_TYPE, digest)
    assert mark_of(out / "timelapse.webp") == (DIGITAL_SOURCE_TYPE, digest)
    snapshots = [row["step"] for row in timeless(out) if "held_out" in row]
    with Image.open(out / "timelapse.webp") as image:
        assert image.n_frames == len(snapshots)
    values = shown(out)
    assert [step for step, _ in values["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in values["held_out/reconstruction/ssim"]] == snapshots
    assert [step for step, _ in values["preview"]] == snapshots


@pytest.mark.usefixtures("quick_judge")
def test_numbers_do_not_depend_on_previews_or_event_files(tmp_path):
    seen = []
    for name, views in (
        ("unseen", ViewOptions(preview_every=0)),
        ("seen", ViewOptions(preview_every=1e-9, tensorboard=True)),
    ):
        (tmp_path / name).mkdir()
        callbacks = Callbacks(on_step=lambda model, step: seen.append((model.training, step)))
        run_trial(TRIAL, PAIR, tmp_path / name, callbacks, Keeping(), views=views)
    assert timeless(tmp_path / "unseen") == timeless(tmp_path / "seen")
    assert not (tmp_path / "unseen" / "preview.png").exists()
    assert (tmp_path / "seen" / "preview.png").exists()
    assert seen == [(True, step) for step in range(1, 7)] * 2


@pytest.mark.usefixtures("quick_judge")
def test_callbacks_get_every_row_and_resuming_repeats_no_step(tmp_path):
    rows = []

    def die(progress):
        if progress.step == 4:
            raise DiedError

    views = ViewOptions(preview_every=0, tensorboard=True)
    with pytest.raises(DiedError):
        run_trial(TRIAL, PAIR, tmp_path, Callbacks(die), Keeping(), views=views)
    run_trial(TRIAL, PAIR, tmp_path, Callbacks(on_row=rows.append), Keeping(), views=views)
    whole = list(records.read(tmp_path))
    assert rows == whole[-len(rows) :]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    values = shown(tmp_path)
    assert [step for step, _ in values["loss"]] == [1, 2, 3, 4, 5, 6]
    losses = [row["loss"] for row in whole if "loss" in row]
    assert [value for _, value in values["loss"]] == pytest.approx(losses, rel=unit_roundoff(torch.float32))


@pytest.mark.usefixtures("quick_judge")
def test_a_timelapse_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lossarium.trial.run.write_timelapse", full)
    told = []
    run_trial(TRIAL, PAIR, tmp_path, Callbacks(tell=told.append), Keeping())
    forecast, *told = told
    assert "takes memory about" in forecast
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert timeless(tmp_path)[-1]["finished"] is True


@pytest.mark.usefixtures("quick_judge")
def test_a_timelapse_on_demand(tmp_path, capsys):
    run_trial(TRIAL, PAIR, tmp_path, Callbacks(), Keeping(), views=ViewOptions(preview_every=0))
    made = (tmp_path / "timelapse.webp").read_bytes()
    (tmp_path / "timelapse.webp").unlink()
    assert main(["timelapse", str(tmp_path)]) == 0
    assert "3 frames marked as made by a trained model" in capsys.readouterr().out
    assert (tmp_path / "timelapse.webp").read_bytes() == made
    other = tmp_path / "other.webp"
    assert main(["timelapse", str(tmp_path), str(other)]) == 0
    assert main(["timelapse", str(tmp_path), str(other)]) == 2
    assert main(["timelapse", str(tmp_path), str(other), "--force"]) == 0
    assert main(["timelapse", str(tmp_path), str(tmp_path / "other.gif")]) == 2
    printed = capsys.readouterr().err
    assert "other.webp exists" in printed
    assert "does not end in .webp" in printed
    assert not (tmp_path / "other.gif").exists()


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf"])
def test_invalid_preview_intervals_are_refused(tmp_path, capsys, seconds):
    assert main(["train", "demo", f"--preview-every={seconds}", "--out", str(tmp_path / "out")]) == 2
    assert "--preview-every must be 0 seconds or more" in capsys.readouterr().err


def test_without_tensorboardx_training_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["train", "demo", "--tensorboard", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'lossarium[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lines_name_loss_terms_learning_rate_and_pace(capsys):
    with training_progress(TRIAL) as callbacks:
        callbacks.on_progress(now(step=1))
        callbacks.on_progress(now(step=2))
        callbacks.tell("something happened")
        callbacks.on_row({"step": 6, "passed_over": {"ssim": None}})
        callbacks.on_progress(now(step=6, loss=0.2, terms={"mse": 0.2}))
    first, told, last = capsys.readouterr().err.splitlines()
    assert first == "step 1/6  loss 0.3000 (ssim 0.2000, 0.5*mae 0.1000)  learning rate 3e-05  12.3 steps/s"
    assert told == "note: something happened"
    assert last == (
        "step 6/6  loss 0.2000  learning rate 3e-05  1 not finite, skipped  12.3 steps/s  0 s left"
    )


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "80"), ("LINES", "25"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)


def last_screen(capsys):
    """The lines that stay."""
    text = capsys.readouterr().err
    # A live display clears the lines that it redraws.
    text = re.split(r"\x1b\[2K", text)[-1]
    return [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines() if line.strip()]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_of_80_columns_is_enough(capsys):
    terms = {"ssim": 0.2, "0.5*mae": 0.1, "0.1*lpips(net=alex)": 0.1}
    with training_progress(Trial(TRIAL.loss, 0, Recipe(steps=1_000_000))) as callbacks:
        for step in (999_998, 999_999):
            callbacks.on_progress(now(step=step, steps=1_000_000, terms=terms))
    bar, loss, others = last_screen(capsys)
    assert all(len(line) <= 80 for line in (bar, loss, others))
    assert bar.startswith("999999/1000000")
    assert re.search(r"12\.3 steps/s  \d+ s left$", bar)
    assert loss == "loss 0.3000 (ssim 0.2000, 0.5*mae 0.1000, 0.1*lpips(net=alex) 0.1000)"
    assert others == "learning rate 3e-05"


@pytest.mark.usefixtures("terminal")
def test_a_finished_trial_leaves_no_bar(capsys):
    with training_progress(TRIAL):
        pass
    assert last_screen(capsys) == []
