"""Checkpoints: never half-written, restored, and removed when no longer needed."""

import errno
import pickle

import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training.checkpoints import (
    Position,
    keep_the_last,
    load_checkpoint,
    load_good,
    position_of,
    read_checkpoint,
    save_checkpoint,
)


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
    assert load_checkpoint(tmp_path, other, other_optimizer).position == position
    assert weights_digest(other) == weights_digest(model)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        for key, value in optimizer.state[mine].items():
            restored = other_optimizer.state[theirs][key]
            assert torch.equal(restored, value)
            assert restored.stride() == value.stride()


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def pickled(path):
    path.write_bytes(pickle.dumps({"model": 1}))


@pytest.mark.parametrize("damage", [cut, flip, empty, pickled])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, damage):
    model, optimizer = _state(0)
    save_checkpoint(tmp_path, Position(5), model, optimizer, {"a": [1.5]})
    digest = weights_digest(model)
    optimizer.step()
    save_checkpoint(tmp_path, Position(7), model, optimizer)
    damage(tmp_path / "checkpoints" / "step_00000007.safetensors")
    other, other_optimizer = _state(1)
    loaded = load_checkpoint(tmp_path, other, other_optimizer)
    assert loaded.position == Position(5)
    assert loaded.state == {"a": [1.5]}
    assert len(loaded.damaged) == 1
    assert "step_00000007.safetensors is damaged" in loaded.damaged[0]
    assert weights_digest(other) == digest
    damage(tmp_path / "checkpoints" / "step_00000005.safetensors")
    with pytest.raises(
        LossariumError, match=r"step_00000007.safetensors is damaged .* there is none before it"
    ):
        load_checkpoint(tmp_path, model, optimizer)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_the_best_and_the_good_are_kept(tmp_path):
    model, optimizer = _state(0)
    for step in range(1, 7):
        save_checkpoint(
            tmp_path,
            Position(step),
            model,
            optimizer,
            best=step == 2,
            good=step in (1, 3),
            snapshot=step == 4,
        )
        optimizer.step()
    there = ["best.safetensors", "good.safetensors", "step_00000005.safetensors", "step_00000006.safetensors"]
    assert names(tmp_path / "checkpoints") == there
    assert names(tmp_path / "snapshots") == ["step_00000004.safetensors"]
    assert position_of(read_checkpoint(tmp_path / "checkpoints" / "best.safetensors")[0]).step == 2
    assert load_good(tmp_path, model, optimizer).position == Position(3)
    save_checkpoint(tmp_path, Position(3), model, optimizer)
    assert names(tmp_path / "checkpoints")[2:] == ["step_00000003.safetensors"]
    keep_the_last(tmp_path)
    assert names(tmp_path / "checkpoints") == ["best.safetensors", "step_00000003.safetensors"]


def test_a_file_system_without_links_keeps_copies(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    model, optimizer = _state(0)
    save_checkpoint(tmp_path, Position(3), model, optimizer, good=True)
    assert load_good(tmp_path, *_state(1)).position == Position(3)
