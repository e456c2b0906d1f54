"""Checkpoints: all that a trial needs to go on as if it had never stopped, in one safetensors file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.files import write_whole

_FOLDER = "checkpoints"


@dataclass(frozen=True)
class Position:
    """Where a trial stands. Its random state is part of this: randomness is a function of the step."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Spent on training, over all runs of the trial."""
    batches: str = "0" * 64
    """The last link of the hash chain over the batches."""
    record_bytes: int = 0
    """Length of `metrics.jsonl` at this moment."""


def save_checkpoint(
    folder: Path, position: Position, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write a checkpoint, then remove the older ones."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{index}.{key}"] = value
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={"position": json.dumps(asdict(position))},
    )
    checkpoints = folder / _FOLDER
    checkpoints.mkdir(exist_ok=True)
    written = checkpoints / f"step_{position.step:08}.safetensors"
    write_whole(written, content)
    for older in checkpoints.iterdir():
        if older != written:
            older.unlink()


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
    """Restore the newest checkpoint, or leave all as it is where there is none.

    Raises:
        LossariumError: the checkpoint is damaged or of another model.
    """
    newest = max((folder / _FOLDER).glob("step_*.safetensors"), default=None)
    if newest is None:
        return Position()
    try:
        with safe_open(newest, framework="pt") as file:
            position = Position(**json.loads(file.metadata()["position"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        _restore(tensors, model, optimizer)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LossariumError(
            f"the checkpoint {newest} is damaged ({error}); remove the trial's folder to train it again"
        ) from None
    return position


def _restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    model.load_state_dict(weights)
    for index, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer.{index}."
        optimizer.state[parameter] = {
            name.removeprefix(prefix): _laid_out_like(parameter, tensor)
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Fused optimisers walk a parameter and its state in memory order, so both must be laid out alike."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
