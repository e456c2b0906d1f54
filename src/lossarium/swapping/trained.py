"""Load a trained trial from its folder: its newest undamaged weights and the names of its identities.

The folder need not be trusted: no code from it is run, and no file outside it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.models.registry import Option, initial_model, weights_digest
from lossarium.own_code import is_own
from lossarium.own_sources import changed_sources
from lossarium.provenance import trial_digest
from lossarium.text.links import why_outside
from lossarium.text.toml import parse_toml
from lossarium.text.unicode_names import partners
from lossarium.text.wording import listed, printable_name, reason_of
from lossarium.training.checkpoints import newest_checkpoints, read_checkpoint
from lossarium.training.records import is_finished
from lossarium.trial.folder import toml_bytes

_TRIAL, _CHECKPOINTS, _COMPARISON = "trial.toml", "checkpoints", "comparison.toml"
_MAX_TRIAL_BYTES = 1 << 20
# The limit for a picture's side: a damaged trial.toml may ask for any, and a model's memory grows with its
# square.
_LARGEST_SIZE = 1024
_LONGEST_NAME = 1000
_MODEL_PREFIX = "model."


@dataclass(frozen=True)
class TrainedModel:
    """A model ready to be applied."""

    model: nn.Module
    """In evaluation mode, without gradients."""
    size: int
    """Side of its pictures in pixels."""
    identities: tuple[str, ...]
    """Names, in the order of the decoders."""
    model_name: str
    """As --model has it."""
    model_options: Mapping[str, Option]
    digest: str
    """SHA-256, in hex, over trial.toml, a zero byte and `weights_digest` in hex; this is in the last line
    of a finished trial's metrics.jsonl."""
    notes: tuple[str, ...] = ()
    """Sentences on checkpoints that were skipped, and on a model's code that changed."""


@dataclass(frozen=True)
class _Description:
    """The description of the model in trial.toml."""

    model: str
    options: Mapping[str, Option]
    size: int
    identities: tuple[str, ...]
    sources: object
    """Digests of the files of an own model when the trial last trained; None if they were not recorded."""


class _UnusableError(Exception):
    """Raised with the reason for which a checkpoint is skipped."""


def load_trained(folder: Path, *, own_model: str | None = None, option: str = "--own-model") -> TrainedModel:
    """Read a trial's folder: trial.toml and the newest undamaged checkpoint.

    Args:
        folder: The trial's.
        own_model: The own model that the user trusts: a model that trial.toml names as package.module:factory
            is loaded only if this is the same name.
        option: Where the user names it, for messages.

    Raises:
        LossariumError: it is not a trial's folder, trial.toml is damaged, the model is not trusted, or no
            checkpoint can be used.
    """
    path = folder / _TRIAL
    content = _trial_bytes(folder)
    description = _read_description(path, content)
    if ":" in description.model and description.model != own_model:
        raise LossariumError(
            f"the trial {printable_name(folder)} was trained with a model from custom code, "
            f"{printable_name(description.model)}; if you trust that code, name it with {option}"
        )
    checkpoints = newest_checkpoints(folder)
    untrained = _untrained(path, description) if checkpoints else nn.Module()
    unusable: list[str] = []
    for checkpoint in checkpoints:
        try:
            model = _with_weights(untrained, checkpoint, folder.resolve())
        except _UnusableError as error:
            unusable.append(f"{checkpoint.name} {error}")
            continue
        digest = trial_digest(content, weights_digest(model))
        skipped = tuple(f"the checkpoint {why}; {checkpoint.name} is used." for why in unusable)
        return TrainedModel(
            model,
            description.size,
            description.identities,
            description.model,
            description.options,
            digest,
            (*skipped, *_changed_code(description)),
        )
    where = printable_name(folder / _CHECKPOINTS)
    if unusable:
        raise LossariumError(f"{where} holds no usable checkpoint: {listed(unusable)}; train the trial again")
    if is_finished(folder):
        raise LossariumError(
            f"the trial is finished, but its weights are gone: {where} holds no checkpoint "
            "(step_NUMBER.safetensors); put back a copy, or train the trial again in another folder"
        )
    raise LossariumError(f"{where} holds no checkpoint (step_NUMBER.safetensors); train the trial first")


def _changed_code(description: _Description) -> tuple[str, ...]:
    """A sentence if the files of an own model are not what the trial was trained with."""
    model = description.model
    if description.sources is None:
        return ()
    changed = changed_sources(description.sources, model, "model")
    if not changed:
        return ()
    files = listed([printable_name(file) for file in changed])
    return (
        f"the code of the model {printable_name(model)} ({files}) changed since the trial was trained; if "
        "the pictures are wrong, put back what it was trained with.",
    )


def identity_index(trained: TrainedModel, name: str) -> int:
    """The index of an identity's decoder.

    Raises:
        LossariumError: the trial has no such identity; the message lists those that it has.
    """
    known = partners([name], trained.identities)
    if name not in known:
        raise LossariumError(
            f'the trial knows no identity "{printable_name(name)}"; it knows {listed(trained.identities)}'
        )
    return trained.identities.index(known[name])


def _trial_bytes(folder: Path) -> bytes:
    path, shown = folder / _TRIAL, printable_name(folder)
    if not folder.is_dir():
        raise LossariumError(f"the trial {shown} is not a folder; give one that holds {_TRIAL}")
    if not path.is_file():
        if (folder / _COMPARISON).is_file():
            raise LossariumError(
                f"{shown} is a comparison's folder; give one of its trials: {_trials_of(folder)}"
            )
        raise LossariumError(
            f"{shown} holds no {_TRIAL}; give a trial's folder, such as OUT/trials/mse-seed0"
        )
    if (reason := why_outside(path, folder.resolve())) is not None:
        _refuse(path, reason)
    with path.open("rb") as file:
        content = file.read(_MAX_TRIAL_BYTES + 1)
    if len(content) > _MAX_TRIAL_BYTES:
        _refuse(path, "takes more than a megabyte")
    return toml_bytes(path) or content


def _trials_of(comparison: Path) -> str:
    trials = sorted(path.parent.as_posix() for path in (comparison / "trials").glob(f"*/{_TRIAL}"))
    return listed(trials) or "there are none yet"


def _read_description(path: Path, content: bytes) -> _Description:
    try:
        table = parse_toml(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        _refuse(path, f"is not TOML ({printable_name(str(error))})")
    recipe, data = _table(path, table, "recipe"), _table(path, table, "data")
    size = recipe.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST_SIZE:
        _refuse(path, f"has a recipe.size that is not a whole number from 1 to {_LARGEST_SIZE}")
    identities = _text(path, data, "data", "first"), _text(path, data, "data", "second")
    if identities[0] == identities[1]:
        _refuse(path, "gives both identities the same name")
    model = _text(path, recipe, "recipe", "model")
    return _Description(model, _options(path, recipe), size, identities, _recorded_sources(table, model))


def _recorded_sources(table: Mapping[str, Any], model: str) -> object:
    continued = table.get("continued")
    last = continued[-1] if isinstance(continued, list) and continued else table
    code = last.get("own_code") if isinstance(last, dict) else None
    return code.get(model) if isinstance(code, dict) and is_own(model) else None


def _options(path: Path, recipe: Mapping[str, Any]) -> Mapping[str, Option]:
    """The model's options; the model itself checks their names."""
    options = _table(path, recipe, "model_options") if "model_options" in recipe else {}
    if not all(isinstance(value, bool | int | float | str) for value in options.values()):
        _refuse(path, "has model_options that are neither numbers nor words")
    return options


def _table(path: Path, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict):
        _refuse(path, f"has no table {key}")
    return value


def _text(path: Path, table: Mapping[str, Any], name: str, key: str) -> str:
    value = table.get(key)
    if (
        not isinstance(value, str)
        or not value.strip()
        or not value.isprintable()
        or len(value) > _LONGEST_NAME
    ):
        _refuse(path, f"has a {name}.{key} that is not a name")
    return value


def _refuse(path: Path, reason: str) -> NoReturn:
    raise LossariumError(f"{printable_name(path)} {reason}; copy the trial's folder again or train it again")


def _untrained(path: Path, description: _Description) -> nn.Module:
    try:
        return initial_model(
            description.model,
            size=description.size,
            identities=len(description.identities),
            seed=0,
            options=description.options,
        )
    except MemoryError:
        _refuse(path, "names a model that needs more memory than this machine has")


def _with_weights(model: nn.Module, checkpoint: Path, real_folder: Path) -> nn.Module:
    """Load a checkpoint's weights into the model.

    Raises:
        _UnusableError: the checkpoint is damaged or of another model.
    """
    if (reason := why_outside(checkpoint, real_folder)) is not None:
        raise _UnusableError(reason)
    if not checkpoint.is_file():
        raise _UnusableError("is not a regular file")
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    try:
        weights = _weights(checkpoint, expected)
    except (SafetensorError, KeyError, TypeError, OSError, ValueError, RuntimeError) as error:
        raise _UnusableError(f"is damaged ({printable_name(reason_of(error))[:200]})") from error
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise _UnusableError("holds weights that are not finite")
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def _weights(checkpoint: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the model's weights from a checkpoint, after checking their shapes and the checkpoint's hash."""
    with safe_open(checkpoint, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(_MODEL_PREFIX)]  # noqa: SIM118 - not a mapping
        shapes = {name.removeprefix(_MODEL_PREFIX): tuple(file.get_slice(name).get_shape()) for name in names}
        if shapes != expected:
            raise _UnusableError("holds the weights of another model than trial.toml names")
    _, tensors = read_checkpoint(checkpoint)
    return {name.removeprefix(_MODEL_PREFIX): tensors[name] for name in names}
