"""One trial: its records, and that interruptions do not change its numbers."""

import errno
import math
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call

from lossarium import files, losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches.batch import Batches
from lossarium.models.registry import initial_model
from lossarium.training import checkpoints, loop, records
from lossarium.training.callbacks import Callbacks
from lossarium.training.configuration import FULL_EVALUATIONS, Recipe, Trial
from lossarium.training.folder_lock import locked_trial
from lossarium.training.keeping import Keeping
from lossarium.training.loop import train
from lossarium.training.signals import Stopped
from lossarium.training.trial_batches import batches_of
from tests.bounds import rounding_error, sensitivity, unit_roundoff
from tests.facesets.examples import blobs

PAIR = (blobs("ada"), blobs("ben", seed=5))
RECIPE = Recipe(steps=12, size=32, batch_size=2, snapshots=3)
TRIAL = Trial("ssim + 0.5*mae", 0, RECIPE)


class Looks:
    """A judge that always finds the same."""

    def __call__(self, model, step, *, everything):
        del model, step, everything
        return {"held_out": {"x": [1.0]}}

    def goodness(self, row):
        return row["held_out"]["x"][0]


class StoppedError(Exception):
    """Stands for a process that dies."""


LOOKS = Looks()


def run(folder, trial=TRIAL, *, die_after=None, judge=LOOKS, at=None, **options):
    """Train; `at` maps steps to functions called after them. Returns the messages."""
    folder.mkdir(exist_ok=True)
    told = []

    def watch(progress):
        if at is not None and progress.step in at:
            at[progress.step]()
        if progress.step == die_after:
            raise StoppedError

    train(trial, options.pop("facesets", PAIR), folder, judge, Callbacks(watch, told.append), **options)
    return told


def timeless(folder):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in records.read(folder)]


def test_records_every_step_every_snapshot_and_the_end(tmp_path):
    run(tmp_path)
    rows = list(records.read(tmp_path))
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    for row in steps:
        assert set(row["terms"]) == {"ssim", "0.5*mae"}
        # Two terms, which are added and rounded once in float32.
        assert sum(row["terms"].values()) == pytest.approx(row["loss"], rel=rounding_error(1, torch.float32))
    assert [row["step"] for row in rows if "held_out" in row] == [1, 5, 12] == list(RECIPE.snapshot_steps())
    assert rows[-1]["finished"] is True
    assert records.is_finished(tmp_path)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1]


def test_training_learns(tmp_path):
    run(tmp_path, Trial("mse", 0, replace(RECIPE, steps=60)))
    losses = [row["loss"] for row in records.read(tmp_path) if "loss" in row]
    # Initial weights of other seeds end between 0.25 and 0.3, which no rounding comes near; 1 is no progress.
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])


@pytest.mark.parametrize("die_after", [1, 4, 5, 6, 11, 12])
def test_an_interrupted_trial_ends_with_the_same_records_and_weights(tmp_path, die_after):
    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", die_after=die_after)
    assert not records.is_finished(tmp_path / "broken")
    there = {path.name for path in (tmp_path / "broken" / "checkpoints").iterdir()}
    assert max(there - {"good.safetensors"}) <= f"step_{die_after:08}.safetensors"
    run(tmp_path / "broken")
    assert [path.name for path in (tmp_path / "broken" / "checkpoints").iterdir()] == [
        "step_00000012.safetensors"
    ]
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_a_trial_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path):
    def dying(_model, _step, **_):
        raise StoppedError

    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", judge=dying)
    run(tmp_path / "broken")
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_losses_of_very_different_cost_see_the_same_batches(tmp_path):
    chains = []
    for place, loss in enumerate(("mse", "lpips + ssim")):
        run(tmp_path / str(place), Trial(loss, 0, RECIPE))
        chains.append([row["batches"] for row in records.read(tmp_path / str(place)) if "batches" in row])
    assert chains[0] == chains[1]
    assert len(set(chains[0])) == 12


def test_an_infinite_loss_stops_the_trial_before_it_reaches_the_weights(tmp_path):
    with pytest.raises(LossariumError, match=r"became (nan|inf) at step \d+.*learning rate"):
        run(tmp_path, Trial("mse", 0, replace(RECIPE, learning_rate=1e30)))


def test_bf16_trains_and_differs_from_float32(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b", Trial(TRIAL.loss, 0, replace(RECIPE, precision="bf16")))
    first, second = (list(records.read(tmp_path / name)) for name in "ab")
    assert first[-1]["weights"] != second[-1]["weights"]
    # The first loss is that of the same weights. What rounding all weights and pictures once to bfloat16 does
    # to it is measured in float64; of a layer's weights, its input and its output there are three in each of
    # ten layers.
    model = initial_model("compact", size=32, identities=2, seed=0).double()
    batch = batches_of(0, RECIPE, PAIR, torch.device("cpu"))(1)
    names, weights = zip(*((name, weight.detach()) for name, weight in model.named_parameters()), strict=True)

    def exact(input, *weights):
        pictures = functional_call(model, dict(zip(names, weights, strict=True)), (input, (0, 1)))
        target = batch.target.double().flatten(0, 1)
        return (losses.get(TRIAL.loss).terms(pictures.flatten(0, 1), target, None).sum(),)

    with torch.no_grad():
        (loss,), (change,) = sensitivity(exact, batch.input.double(), *weights, draws=4, dtype=torch.bfloat16)
    # Of float32 as many roundings have their share of that.
    share = unit_roundoff(torch.float32) / unit_roundoff(torch.bfloat16)
    allowed = 32 * change.item()
    assert second[0]["loss"] == pytest.approx(loss.item(), rel=0, abs=allowed)
    loss_error = share * allowed + rounding_error(32, torch.float32) * loss.item()
    assert first[0]["loss"] == pytest.approx(loss.item(), rel=0, abs=loss_error)


def damaged_rows(folder, edit):
    """Edit the lines of metrics.jsonl."""
    path = folder / records.NAME
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def test_damaged_rows_are_rewritten_from_the_checkpoint_before_them(tmp_path):
    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", die_after=7)
    checkpoints = tmp_path / "broken" / "checkpoints"
    newest = (checkpoints / "step_00000005.safetensors").read_bytes()
    # Row 4 lies between the checkpoints of steps 1 and 5.
    damaged_rows(tmp_path / "broken", lambda lines: [*lines[:3], lines[3].replace(b"1", b"7"), *lines[4:]])
    at = {2: lambda: kept.append((checkpoints / "set_aside.safetensors").read_bytes())}
    kept = []
    told = run(tmp_path / "broken", at=at)
    assert len(told) == 1
    assert re.search(
        r"metrics.jsonl is damaged in line 4 \(it was changed.*before the checkpoint step_00000005.* "
        r"going on from step 1 instead",
        told[0],
    )
    assert kept == [newest]
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")
    assert [path.name for path in checkpoints.iterdir()] == ["step_00000012.safetensors"]


def test_rows_damaged_before_every_checkpoint_are_named_and_nothing_is_removed(tmp_path):
    with pytest.raises(StoppedError):
        run(tmp_path, die_after=12)
    damaged_rows(tmp_path, lambda lines: lines[1:])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(LossariumError, match=r"is damaged in line 1 .*every checkpoint was written after"):
        run(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("bytes_left", [0.5, 0])
def test_truncated_rows_are_rewritten(tmp_path, bytes_left):
    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", die_after=7)
    path = tmp_path / "broken" / records.NAME
    content = path.read_bytes()
    if bytes_left:
        path.write_bytes(content[: int(bytes_left * len(content))])
        told = run(tmp_path / "broken")
        assert "metrics.jsonl ends in half a line, before the checkpoint" in told[0]
        assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")
    else:
        path.unlink()
        with pytest.raises(LossariumError, match="is missing, and every checkpoint was written after that"):
            run(tmp_path / "broken")
        assert not path.exists()


def test_a_kept_checkpoint_serves_where_the_last_ones_are_damaged(tmp_path):
    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", die_after=7, keeping=Keeping(every=3))
    there = list((tmp_path / "broken" / "checkpoints").iterdir())
    for path in there:
        # Written as a new file, since a kept checkpoint may be a hard link to the same one.
        content = path.read_bytes()[:-100]
        path.unlink()
        path.write_bytes(content)
    told = run(tmp_path / "broken")
    assert len(told) == len(there)
    assert "going on from step 6 instead" in told[0]
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    with pytest.raises(StoppedError):
        run(tmp_path, die_after=5)
    for place in ("checkpoints/.step_00000009.safetensors", ".trial.toml"):
        (tmp_path / f"{place}.4194305.part").write_bytes(b"half")
    run(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".part"] == []


def test_a_second_process_is_refused(tmp_path):
    with locked_trial(tmp_path), pytest.raises(LossariumError, match="another process is training in"):
        run(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_saves_first(tmp_path, number):
    run(tmp_path / "whole")
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="stopped after step 3") as stopped:
        run(tmp_path / "broken", at={3: lambda: os.kill(os.getpid(), number)})
    assert stopped.value.number == number
    assert signal.getsignal(number) == before
    assert (tmp_path / "broken" / "checkpoints" / "step_00000003.safetensors").exists()
    run(tmp_path / "broken")
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_a_full_disk_loses_nothing_but_checkpoints(tmp_path, monkeypatch):
    full = True

    def write_whole(path, content):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        files.write_whole(path, content)

    def empty():
        nonlocal full
        full = False

    run(tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "write_whole", write_whole)
    told = run(tmp_path / "full", at={7: empty})
    assert [sentence.split(" (")[0] for sentence in told] == [
        "no checkpoint could be written after step 1",
        "no checkpoint could be written after step 5",
    ]
    assert "No space left on device" in told[0]
    assert timeless(tmp_path / "full") == timeless(tmp_path / "whole")


def with_infinities(monkeypatch, steps, *, only_the_first_time=False):
    """Put NaN into the batches of some steps."""
    seen = set()
    right = Batches.__call__

    def wrong(self, step):
        batch = right(self, step)
        if step in steps and not (only_the_first_time and step in seen):
            seen.add(step)
            batch.target[0, 0, 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(Batches, "__call__", wrong)


def test_a_step_with_nan_is_skipped(tmp_path, monkeypatch):
    with_infinities(monkeypatch, {4})
    assert run(tmp_path, Trial("mse + ssim", 0, RECIPE)) == []
    rows = list(records.read(tmp_path))
    assert [row["step"] for row in rows if "passed_over" in row] == [4]
    assert set(next(row for row in rows if "passed_over" in row)["passed_over"].values()) == {None}
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 11
    assert all(map(math.isfinite, losses))


def test_an_explosion_is_rolled_back_and_the_rate_lowered(tmp_path, monkeypatch):
    with_infinities(monkeypatch, {6, 7, 8, 9, 10}, only_the_first_time=True)
    told = run(tmp_path, Trial("0.5*mse", 0, RECIPE))
    assert len(told) == 1
    assert re.search(
        r'became nan at step 10 .*its term "0.5\*mse" first; rolled back to step 5, .* 0.5 of', told[0]
    )
    rows = list(records.read(tmp_path))
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    assert {row["learning_rate"] for row in steps[:5]} == {RECIPE.learning_rate}
    assert {row["learning_rate"] for row in steps[5:]} == {RECIPE.learning_rate / 2}
    event = next(row for row in rows if "went_back" in row)["went_back"]
    assert event == {"from": 10, "term": "0.5*mse", "learning_rate_factor": 0.5}


def test_a_trial_killed_after_a_rollback_continues_at_the_lower_rate(tmp_path, monkeypatch):
    trial = Trial("mse", 0, RECIPE)
    with_infinities(monkeypatch, {6, 7, 8, 9, 10}, only_the_first_time=True)
    run(tmp_path / "whole", trial)
    monkeypatch.undo()
    with_infinities(monkeypatch, {6, 7, 8, 9, 10}, only_the_first_time=True)
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", trial, die_after=11)
    run(tmp_path / "broken", trial)
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_control_changes_the_next_step_and_survives_a_crash(tmp_path):
    def steer(folder):
        (folder / "control.toml").write_text('learning_rate = 1e-5\nloss = "mae"\n')

    run(tmp_path / "whole", at={3: lambda: steer(tmp_path / "whole")}, by_hand=True)
    rows = [row for row in records.read(tmp_path / "whole") if "learning_rate" in row]
    assert [row["learning_rate"] for row in rows] == [1e-3] * 3 + [1e-5] * 9
    assert set(rows[3]["terms"]) == {"mae"}
    changed = next(row for row in records.read(tmp_path / "whole") if "control" in row)
    assert (changed["step"], changed["control"]) == (
        4,
        {"learning_rate": 1e-5, "loss": "mae"},
    )
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", at={3: lambda: steer(tmp_path / "broken")}, die_after=4, by_hand=True)
    run(tmp_path / "broken", by_hand=True)
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_a_change_waits_until_it_can_be_logged_and_survives_a_crash(tmp_path, monkeypatch):
    fsync, full = os.fsync, True

    def refusing(handle):
        if full and Path(f"/proc/self/fd/{handle}").readlink().name == "control.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    def steer():
        (tmp_path / "full" / "control.toml").write_bytes(b"\xef\xbb\xbflearning_rate = 1e-5\n")

    def empty():
        nonlocal full
        assert (tmp_path / "full" / "control.jsonl").read_bytes() == b""
        full = False

    monkeypatch.setattr("lossarium.training.control.os.fsync", refusing)
    with pytest.raises(StoppedError):
        run(tmp_path / "full", at={3: steer, 6: empty}, die_after=8, by_hand=True)
    # The row is there once, and the trial repeats the change at its step.
    assert len((tmp_path / "full" / "control.jsonl").read_text().splitlines()) == 1
    told = run(tmp_path / "full", by_hand=True)
    assert told == ["from step 7 on: learning_rate 1e-05"]
    rows = [row for row in records.read(tmp_path / "full") if "learning_rate" in row]
    assert [row["learning_rate"] for row in rows] == [1e-3] * 6 + [1e-5] * 6


def test_a_change_that_cannot_be_logged_is_reported_once_and_does_not_end_training(tmp_path, monkeypatch):
    def refusing(_path, _row):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lossarium.training.control._append", refusing)
    steer = {3: lambda: (tmp_path / "control.toml").write_text("learning_rate = 1e-5\n")}
    told = run(tmp_path, at=steer, by_hand=True)
    assert len(told) == 1
    assert "control.jsonl cannot be written (No space left on device)" in told[0]
    assert {row["learning_rate"] for row in records.read(tmp_path) if "learning_rate" in row} == {1e-3}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("learning_rat = 1", "did you mean learning_rate"),
        ("learning_rate = -1", "positive"),
        ("learning_rate = true", "positive"),
        ("loss = 'sim'", 'no loss "sim"'),
        ("loss = psnr", "ignored"),
        ("loss = 'psnr'", "psnr"),
        ("\x00", "ignored"),
    ],
)
def test_a_mistake_in_control_is_reported_once_and_ignored(tmp_path, content, complaint):
    (tmp_path / "control.toml").write_text(content)
    told = run(tmp_path, by_hand=True)
    assert len(told) == 1
    assert complaint in told[0]
    assert not any("control" in row for row in records.read(tmp_path))


def with_faces(faceset):
    """Add landmarks around a moving centre."""
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    ring = np.stack([16 + 9 * np.cos(turn), 16 + 9 * np.sin(turn)], axis=1)
    shifts = np.arange(len(faceset.frames))[:, None, None] / 8
    return replace(faceset, landmarks=(ring + shifts).astype(np.float32))


FACES = tuple(map(with_faces, PAIR))


def test_multipliers_of_1_change_no_number(tmp_path):
    recipe = replace(RECIPE, mask="extended", eye_multiplier=1.0, mouth_multiplier=1.0)
    run(tmp_path / "with", replace(TRIAL, recipe=recipe), facesets=FACES)
    run(tmp_path / "without", facesets=FACES)
    one, other = ([row for row in timeless(tmp_path / name) if "loss" in row] for name in ("with", "without"))
    for row, same in zip(one, other, strict=True):
        # The batches have the mask, too.
        assert row | {"batches": ""} == same | {"batches": ""}


def test_regions_count_and_an_interruption_does_not(tmp_path):
    recipe = replace(RECIPE, mask="extended(blur=1)", mask_loss=True, eye_multiplier=3, mouth_multiplier=2)
    weighted = replace(TRIAL, recipe=recipe)
    run(tmp_path / "whole", weighted, facesets=FACES)
    with pytest.raises(StoppedError):
        run(tmp_path / "killed", weighted, facesets=FACES, die_after=6)
    run(tmp_path / "killed", weighted, facesets=FACES)
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "killed")
    run(tmp_path / "plain", facesets=FACES)
    first, plain = (next(iter(records.read(tmp_path / name)))["loss"] for name in ("whole", "plain"))
    assert first != plain


def test_multipliers_change_by_hand_where_landmarks_are_known(tmp_path):
    def steer(folder):
        (folder / "control.toml").write_text("eye_multiplier = 4\n")

    folder = tmp_path / "known"
    run(folder, facesets=FACES, at={5: lambda: steer(folder)}, by_hand=True)
    run(tmp_path / "plain", facesets=FACES)
    losses, plain = (
        [row["loss"] for row in records.read(tmp_path / name) if "loss" in row] for name in ("known", "plain")
    )
    assert losses[:5] == plain[:5]
    assert losses[5] != plain[5]

    folder = tmp_path / "unknown"
    told = run(folder, at={5: lambda: steer(folder)}, by_hand=True)
    assert len(told) == 1
    assert "ignored" in told[0]
    assert "not every picture of ada has" in told[0]
    run(tmp_path / "reference")
    assert timeless(folder) == timeless(tmp_path / "reference")


class Rising:
    """An evaluator whose scores rise fast at first and then no more."""

    def __call__(self, model, step, *, everything):
        del model, everything
        return {"held_out": {"x": [20.0 - 10.0 / step if step < 8 else 19.0 + 1e-4 * (-1) ** step]}}

    def goodness(self, row):
        return row["held_out"]["x"][0]


class Sampling(Rising):
    """The same, of a sample of one picture of two."""

    def __call__(self, model, step, *, everything):
        (value,) = super().__call__(model, step, everything=everything)["held_out"]["x"]
        judged = {"judged": "all" if everything else "sample", "sample": {"x": [0]}}
        return {"held_out": {"x": [value, 0.0] if everything else [value]}, **judged}


def evaluated(folder):
    """The rows of evaluations."""
    return [row for row in records.read(folder) if "held_out" in row]


def test_the_last_three_evaluations_judge_everything_and_those_before_a_sample(tmp_path):
    trial = Trial("mse", 0, replace(RECIPE, judge_every=2))
    run(tmp_path, trial, judge=Sampling())
    rows = evaluated(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["judged"] for row in rows] == ["sample"] * 3 + ["all"] * 3
    assert [len(row["held_out"]["x"]) for row in rows] == [1, 1, 1, 2, 2, 2]
    assert FULL_EVALUATIONS == 3


def test_the_evaluation_that_ends_a_converged_trial_judges_everything(tmp_path):
    trial = Trial("mse", 0, replace(RECIPE, steps=200, judge_every=1))
    run(tmp_path, trial, judge=Sampling(), until_converged=True)
    rows = evaluated(tmp_path)
    assert rows[-1]["step"] < 197
    assert [row["judged"] for row in rows] == ["sample"] * (len(rows) - 1) + ["all"]
    assert len({row["step"] for row in rows}) == len(rows)


def test_until_converged_stops_once_the_score_stops_rising(tmp_path):
    trial = Trial("mse", 0, replace(RECIPE, steps=200, judge_every=1))
    told = run(tmp_path / "until", trial, judge=Rising(), until_converged=True)
    rows = list(records.read(tmp_path / "until"))
    assert rows[-1]["finished"] is True
    assert rows[-1]["converged"] in told[-1]
    assert 20 <= rows[-1]["step"] < 60
    evaluations = [row["step"] for row in rows if "held_out" in row]
    assert evaluations == list(range(1, rows[-1]["step"] + 1))
    short = replace(trial, recipe=replace(trial.recipe, steps=rows[-1]["step"]))
    run(tmp_path / "all", short, judge=Rising())
    assert timeless(tmp_path / "all")[:-1] == timeless(tmp_path / "until")[:-1]


def test_a_plateau_lowers_the_rate_after_as_many_evaluations_without_a_gain(tmp_path):
    recipe = replace(RECIPE, judge_every=2, schedule="plateau(factor=0.5, patience=1)")
    trial = Trial("mse", 0, recipe)
    run(tmp_path / "whole", trial)
    rates = [row["learning_rate"] for row in records.read(tmp_path / "whole") if "loss" in row]
    # The first evaluation is the best; the third is the second without a gain, and so is the fifth.
    assert rates == [1e-3] * 6 + [5e-4] * 4 + [2.5e-4] * 2
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", trial, die_after=7)
    run(tmp_path / "broken", trial)
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_a_request_is_heard_between_the_parts_of_a_step(tmp_path, monkeypatch):
    trial = Trial("mse", 0, replace(RECIPE, steps=6, accumulation=3))
    run(tmp_path / "whole", trial)
    right, parts = loop._backward, []

    def interrupted(*arguments):
        parts.append(None)
        if len(parts) == 3 * 3 + 2:
            os.kill(os.getpid(), signal.SIGINT)
        return right(*arguments)

    monkeypatch.setattr(loop, "_backward", interrupted)
    with pytest.raises(Stopped, match="stopped after step 3"):
        run(tmp_path / "broken", trial)
    # The second part was finished, the third not begun.
    assert len(parts) == 3 * 3 + 2
    monkeypatch.undo()
    run(tmp_path / "broken", trial)
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")
