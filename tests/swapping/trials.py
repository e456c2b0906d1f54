"""Trials written by hand, with only what `lossarium.swapping` reads."""

import json
from collections.abc import Mapping
from pathlib import Path

import tomli_w
from safetensors.torch import save_file
from torch import Tensor

from lossarium.models.registry import initial_model
from lossarium.training.checkpoints import _digest

SIZE = 32


def table(**recipe: object) -> dict[str, object]:
    """The content of trial.toml."""
    return {
        "loss": "mse",
        "seed": 0,
        "recipe": {"size": SIZE, "model": "compact", "steps": 5, **recipe},
        "data": {"first": "ada", "second": "ben"},
    }


def write_checkpoint(folder: Path, *, step: int = 5, seed: int = 0, size: int = SIZE) -> Path:
    """Write a checkpoint with initial weights in place of trained ones, and some optimiser state."""
    model = initial_model("compact", size=size, identities=2, seed=seed)
    tensors = {f"model.{name}": weight.contiguous() for name, weight in model.state_dict().items()}
    tensors["optimizer.0.exp_avg"] = next(model.parameters()).detach().clone().contiguous()
    path = folder / "checkpoints" / f"step_{step:08}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_signed(tensors, path)
    return path


def save_signed(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Save like a checkpoint: with the hash of its content."""
    ordered = dict(sorted(tensors.items()))
    described = json.dumps({"position": {"step": 5}, "optimizer": {}, "state": {}})
    save_file(ordered, path, metadata={"trial": described, "sha256": _digest(described, ordered)})


def write_trial(folder: Path, *, step: int = 5, seed: int = 0) -> Path:
    """A trial's folder."""
    write_checkpoint(folder, step=step, seed=seed)
    (folder / "trial.toml").write_text(tomli_w.dumps(table()))
    return folder
