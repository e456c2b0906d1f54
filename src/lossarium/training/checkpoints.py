"""Checkpoints: the whole state of a trial, each in one safetensors file, so that it can be resumed exactly.

checkpoints/step_00000500.safetensors    the last few
checkpoints/best.safetensors             the one with the best score so far
checkpoints/good.safetensors             the one to roll back to if the loss explodes
checkpoints/set_aside.safetensors        the newest, if rows before it were damaged and are being rewritten
snapshots/step_00001000.safetensors      one every so many steps, with --keep-every

Metadata holds the position and the state as JSON, and a SHA-256 over those and all tensors, which detects
damaged files.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.files import temporary_name, write_whole
from lossarium.training.options.optimizers import restore_state, state_numbers, state_tensors

_FOLDER, _SNAPSHOTS, _BEST, _GOOD = "checkpoints", "snapshots", "best.safetensors", "good.safetensors"
_SET_ASIDE = "set_aside.safetensors"
_CHECKPOINT_NAME = re.compile(r"step_([0-9]{1,18})\.safetensors")
_MODEL, _OPTIMIZER = "model.", "optimizer."
_LEAST_KEPT = 2
"""How many of the last checkpoints are kept while a trial runs: one, and one should that be damaged."""


@dataclass(frozen=True)
class Position:
    """The position of a trial in its training; its random state is a function of the step."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent on training, over all runs of the trial."""
    batches: str = "0" * 64
    """The last link of the hash chain over the batches."""
    record_bytes: int = 0
    """Length of `metrics.jsonl` at this moment."""


@dataclass(frozen=True)
class Loaded:
    """The content of a checkpoint besides weights and optimiser state, which are restored in place."""

    position: Position
    state: Mapping[str, Any]
    """The caller's state that was saved, as JSON."""
    damaged: tuple[str, ...] = ()
    """Why newer checkpoints were not used, one sentence each."""
    set_aside: Path | None = None
    """The newest undamaged checkpoint, if the rows before it are damaged."""


def save_checkpoint(
    folder: Path,
    position: Position,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any] | None = None,
    *,
    best: bool = False,
    good: bool = False,
    snapshot: bool = False,
    last: int = 1,
) -> None:
    """Write a checkpoint, then remove old ones, and those of later steps, which a trial has after a rollback.

    Args:
        folder: The trial's.
        position: The trial's.
        model: The model whose weights to save.
        optimizer: The optimiser whose state to save.
        state: Anything else that JSON can hold.
        best: Whether this is the best so far; it is kept until there is a better one.
        good: Whether the trial may roll back to this one; it is kept until the next such.
        snapshot: Whether to keep this one for good.
        last: How many of the last ones to keep; at least two, in case one is damaged.

    Raises:
        OSError: the disk is full or refuses; all older checkpoints are still there.
    """
    checkpoints = folder / _FOLDER
    checkpoints.mkdir(exist_ok=True)
    written = checkpoints / _name(position.step)
    write_whole(written, _content(position, model, optimizer, state or {}))
    if best:
        _kept_as(written, checkpoints / _BEST)
    if good:
        _kept_as(written, checkpoints / _GOOD)
    if snapshot:
        (folder / _SNAPSHOTS).mkdir(exist_ok=True)
        _kept_as(written, folder / _SNAPSHOTS / written.name)
    there = newest_checkpoints(folder)
    here = there.index(written)
    for path in (*there[:here], *there[here + max(last, _LEAST_KEPT) :]):
        path.unlink()


def keep_the_last(folder: Path, last: int = 1) -> None:
    """Remove all but the last few checkpoints of a trial that no longer runs."""
    for path in (*newest_checkpoints(folder)[last:], folder / _FOLDER / _GOOD, folder / _FOLDER / _SET_ASIDE):
        path.unlink(missing_ok=True)


def steps_done(folder: Path) -> int:
    """The step of a trial's newest checkpoint; 0 if it has none."""
    newest = newest_checkpoints(folder)[:1]
    return int(newest[0].stem.removeprefix("step_")) if newest else 0


def keep_as_good(folder: Path, checkpoint: Path) -> None:
    """Make a checkpoint of a finished trial its good one (see `load_good`), so that the trial can be
    continued from it.

    Raises:
        OSError: the disk is full or refuses.
    """
    _kept_as(checkpoint, folder / _FOLDER / _GOOD)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: tuple[int, str] = (1 << 62, ""),
) -> Loaded:
    """Restore the newest undamaged checkpoint; change nothing if the trial has no checkpoints.

    Args:
        folder: The trial's.
        model: Its weights are replaced.
        optimizer: Its state is replaced.
        rows: The number of intact bytes of the trial's rows, and what is wrong after them. A checkpoint that
            was written after more rows is not used: training from an older one writes them again.

    Raises:
        LossariumError: no checkpoint can be used, or they belong to another model.
    """
    intact, wrong = rows
    skipped: list[str] = []
    set_aside = None
    for path in _fallbacks(folder):
        try:
            table, tensors = read_checkpoint(path)
            position = position_of(table)
            if position.record_bytes > intact:
                set_aside = set_aside or path
                skipped.append(f"metrics.jsonl {wrong}, before the checkpoint {path.name} was written")
                continue
            loaded = _restored(table, tensors, model, optimizer)
        except _DAMAGE as error:
            skipped.append(f"the checkpoint {path} is damaged ({error})")
            continue
        return replace(loaded, damaged=tuple(skipped), set_aside=set_aside)
    if set_aside is not None:
        raise LossariumError(
            f"{folder / 'metrics.jsonl'} {wrong}, and every checkpoint was written after that; put back "
            f"a copy of it, or move {folder} elsewhere to train the trial again: its weights are intact, "
            "and `lossarium swap` accepts them"
        )
    if skipped:
        raise LossariumError(
            f"{skipped[0]}, and there is none before it; "
            f"put back a copy of it, or move {folder} elsewhere to train the trial again"
        )
    return Loaded(Position(), {})


def position_within(folder: Path, record_bytes: int) -> Position | None:
    """The position of the newest undamaged checkpoint that counts on at most so many bytes of rows."""
    for path in _fallbacks(folder):
        with suppress(*_DAMAGE):
            position = position_of(read_checkpoint(path)[0])
            if position.record_bytes <= record_bytes:
                return position
    return None


def set_aside(folder: Path, checkpoint: Path) -> None:
    """Keep a checkpoint under another name while the steps before it are trained again."""
    checkpoint.replace(folder / _FOLDER / _SET_ASIDE)


def _fallbacks(folder: Path) -> list[Path]:
    """All checkpoints that a trial can go on from: the last ones, newest first, then other kept ones."""
    kept = sorted((folder / _SNAPSHOTS).glob("step_*.safetensors"), reverse=True)
    good = folder / _FOLDER / _GOOD
    return [*newest_checkpoints(folder), *([good] if good.exists() else []), *kept]


def load_good(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Loaded:
    """Restore the checkpoint to roll back to; change nothing if there is no undamaged one."""
    try:
        return _restored(*read_checkpoint(folder / _FOLDER / _GOOD), model, optimizer)
    except _DAMAGE:
        return Loaded(Position(), {})


_DAMAGE = (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError, LossariumError)


def position_of(table: Mapping[str, Any]) -> Position:
    """Read the position from a checkpoint's JSON."""
    return Position(**table["position"])


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the JSON and the tensors of one file.

    Raises:
        ValueError, SafetensorError, ...: it is damaged; any exception of `_DAMAGE`.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    described = metadata["trial"]
    if metadata["sha256"] != _digest(described, tensors):
        raise ValueError("its content is not what was written")
    return json.loads(described), tensors


def why_without_weights(folder: Path) -> str | None:
    """Why a finished trial has no weights, for the middle of a sentence; None if a checkpoint is intact."""
    reasons = []
    for path in newest_checkpoints(folder):
        try:
            read_checkpoint(path)
        except _DAMAGE as error:
            reasons.append(f"{path.name} is damaged ({error})")
            continue
        return None
    why = " and ".join(reasons) or f"{folder / _FOLDER} holds no step_NUMBER.safetensors"
    others = [path.relative_to(folder).as_posix() for path in _others(folder)]
    return f"{why}, but there is {', '.join(others)}" if others else why


def _others(folder: Path) -> list[Path]:
    """Checkpoints kept for other reasons than being among the last."""
    named = [folder / _FOLDER / _BEST, folder / _FOLDER / _GOOD]
    kept = (folder / _SNAPSHOTS).glob("step_*.safetensors")
    return [*filter(Path.exists, named), *sorted(kept, reverse=True)]


def newest_checkpoints(folder: Path) -> list[Path]:
    """A trial's checkpoints by their step, the newest first; the best and the good one are not among them."""
    found = [
        (int(match[1]), path)
        for path in (folder / _FOLDER).glob("step_*.safetensors")
        if (match := _CHECKPOINT_NAME.fullmatch(path.name)) is not None
    ]
    return [path for _, path in sorted(found, reverse=True)]


def step_of(checkpoint: Path) -> int:
    """The step in the name of one of `newest_checkpoints`."""
    match = _CHECKPOINT_NAME.fullmatch(checkpoint.name)
    assert match is not None
    return int(match[1])


def _name(step: int) -> str:
    return f"step_{step:08}.safetensors"


def _content(
    position: Position, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> bytes:
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"{_OPTIMIZER}{name}": tensor for name, tensor in state_tensors(optimizer).items()}
    tensors = _separate(
        {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    )
    described = json.dumps(
        {"position": asdict(position), "optimizer": state_numbers(optimizer), "state": state}
    )
    return save(tensors, metadata={"trial": described, "sha256": _digest(described, tensors)})


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with tied weights copied: safetensors refuses tensors that share memory."""
    separate: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    return separate


def _digest(described: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(described.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kept_as(written: Path, name: Path) -> None:
    """Keep a file under another name as well: a hard link if the file system has them, else a copy."""
    temporary = temporary_name(name)
    temporary.unlink(missing_ok=True)
    try:
        with suppress(OSError):
            temporary.hardlink_to(written)
        if not temporary.exists():
            shutil.copyfile(written, temporary)
        temporary.replace(name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _restored(
    table: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Loaded:
    """Restore one checkpoint; raises an exception of `_DAMAGE` if it is damaged."""
    model.load_state_dict(_part(tensors, _MODEL))
    restore_state(optimizer, _part(tensors, _OPTIMIZER), table["optimizer"])
    return Loaded(position_of(table), table["state"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
