"""One trial: what it records, and that interruptions do not show in its numbers."""

import json
from dataclasses import replace

import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training import records
from lossarium.training.checkpoints import Position, load_checkpoint, save_checkpoint
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.loop import train
from tests.facesets.examples import blobs

PAIR = (blobs("ada"), blobs("ben", seed=5))
RECIPE = Recipe(steps=12, size=32, batch_size=2, snapshots=3)
TRIAL = Trial("ssim + 0.5*mae", 0, RECIPE)


class StoppedError(Exception):
    """Stands for a process that dies."""


def run(folder, trial=TRIAL, *, die_after=None, judge=lambda _model, _step: {"x": [1.0]}):
    folder.mkdir(exist_ok=True)

    def watch(progress):
        if progress.step == die_after:
            raise StoppedError

    train(trial, PAIR, folder, judge, watch)


def timeless(folder):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in records.read(folder)]


def test_records_every_step_every_snapshot_and_the_end(tmp_path):
    run(tmp_path)
    rows = list(records.read(tmp_path))
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    for row in steps:
        assert set(row["terms"]) == {"ssim", "0.5*mae"}
        assert sum(row["terms"].values()) == pytest.approx(row["loss"], rel=1e-5)
    assert [row["step"] for row in rows if "held_out" in row] == [1, 5, 12] == list(RECIPE.snapshot_steps())
    assert rows[-1]["finished"] is True
    assert records.is_finished(tmp_path)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1]


def test_training_learns(tmp_path):
    run(tmp_path, Trial("mse", 0, replace(RECIPE, steps=60)))
    losses = [row["loss"] for row in records.read(tmp_path) if "loss" in row]
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])


@pytest.mark.parametrize("die_after", [1, 4, 5, 6, 11, 12])
def test_an_interrupted_trial_ends_with_the_same_records_and_weights(tmp_path, die_after):
    run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", die_after=die_after)
    assert not records.is_finished(tmp_path / "broken")
    assert next((tmp_path / "broken" / "checkpoints").iterdir()).name <= f"step_{die_after:08}.safetensors"
    run(tmp_path / "broken")
    assert (tmp_path / "broken" / "checkpoints" / "step_00000012.safetensors").exists()
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_a_trial_that_died_before_its_first_checkpoint_begins_anew(tmp_path):
    def dying(_model, _step):
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
    assert second[0]["loss"] == pytest.approx(first[0]["loss"], rel=0.02)


def test_a_half_written_last_line_is_passed_over_and_a_damaged_one_named(tmp_path):
    path = tmp_path / records.NAME
    path.write_bytes(b'{"step":1}\n{"step":2}\n{"st')
    assert [row["step"] for row in records.read(tmp_path)] == [1, 2]
    path.write_bytes(b'{"step":1}\nnonsense\n{"step":3}\n')
    with pytest.raises(LossariumError, match=r"metrics\.jsonl is damaged in line 2"):
        list(records.read(tmp_path))


def _state(seed):
    model = initial_model("compact", size=32, identities=2, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.rand(2, 1, 3, 32, 32), (0, 1)).mean().backward()
    optimizer.step()
    return model, optimizer


def test_a_checkpoint_restores_weights_and_optimiser_to_the_bit(tmp_path):
    model, optimizer = _state(0)
    position = Position(7, 1.5, "ab" * 32, 123)
    save_checkpoint(tmp_path, position, model, optimizer)
    other, other_optimizer = _state(1)
    assert load_checkpoint(tmp_path, other, other_optimizer) == position
    assert weights_digest(other) == weights_digest(model)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        for key, value in optimizer.state[mine].items():
            restored = other_optimizer.state[theirs][key]
            assert torch.equal(restored, value)
            assert restored.stride() == value.stride()


def test_a_damaged_checkpoint_is_named(tmp_path):
    model, optimizer = _state(0)
    save_checkpoint(tmp_path, Position(7), model, optimizer)
    path = next((tmp_path / "checkpoints").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LossariumError, match=rf"{path.name} is damaged"):
        load_checkpoint(tmp_path, model, optimizer)


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    model, optimizer = _state(0)
    for step in (5, 10):
        save_checkpoint(tmp_path, Position(step), model, optimizer)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000010.safetensors"]


def test_a_row_is_one_json_object_a_line(tmp_path):
    opened = records.Records(tmp_path, 0)
    opened.write({"step": 1, "loss": 0.1})
    length = opened.flush()
    opened.close()
    content = (tmp_path / records.NAME).read_bytes()
    assert len(content) == length
    assert [json.loads(line) for line in content.splitlines()] == [{"step": 1, "loss": 0.1}]
