"""The models by name, with their options and their initial weights."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lossarium.errors import LossariumError
from lossarium.models.blocks import initialise
from lossarium.models.compact import Compact, CompactOptions
from lossarium.models.dfl_h128 import DflH128Options, dfl_h128
from lossarium.models.dfl_sae import DflSaeOptions, dfl_sae
from lossarium.models.faceswap import LightweightOptions, OriginalOptions, lightweight, original
from lossarium.models.own_models import KINDS, Option, built, is_users, own_model, register, registered
from lossarium.text.suggestions import nearest

__all__ = ["Option", "all_options", "info", "initial_model", "names", "parameter_count", "register"]

_NO_OPTIONS: Mapping[str, Option] = MappingProxyType({})


@dataclass(frozen=True)
class ModelInfo:
    """The declaration of a model."""

    name: str
    summary: str
    size: int
    """Side of the pictures that it is designed for, in pixels; it takes every multiple of 16."""
    options: type[Any]
    """The frozen dataclass of its options."""
    architecture: Callable[[int, int, Any], nn.Module]
    """(size, identities, options) -> the model."""
    draws_its_weights: bool = False
    """Whether it draws its initial weights itself, from torch's generator, instead of by `initialise`."""


def names() -> tuple[str, ...]:
    """The names of all built-in models, cheapest first, then of registered ones."""
    return (*(model.name for model in _MODELS), *(model.name for model in registered()))


def info(name: str) -> ModelInfo:
    """The declaration of a built-in model.

    Raises:
        LossariumError: no built-in model has this name; the message has the nearest names.

    >>> info("dfl_sae").size
    128
    """
    for model in _MODELS:
        if model.name == name:
            return model
    raise LossariumError(
        f'there is no model "{name}"; {nearest(name, names())} (your own is named package.module:factory)'
    )


def described(own: Sequence[str] = ()) -> tuple[tuple[str, str, int], ...]:
    """Name, summary and design size of every built-in and registered model, and of the named own ones.

    Raises:
        LossariumError: a user's model cannot be imported, or is not a model's factory.
    """
    built_in = tuple((model.name, model.summary, model.size) for model in _MODELS)
    users = (*registered(), *(own_model(name) for name in own))
    return (*built_in, *((model.name, model.summary, model.size) for model in users))


def all_options(name: str, options: Mapping[str, Option] = _NO_OPTIONS) -> dict[str, Option]:
    """All options of a model, those given and the defaults of the others, as a trial records them.

    The options of a user's model are the parameters of its factory, and any others that it takes.

    Raises:
        LossariumError: there is no such model or option (the message has the nearest), or a value has the
            wrong type.

    >>> all_options("dfl_h128", {"encoder_dims": 256})["encoder_dims"]
    256
    """
    if is_users(name):
        return own_model(name).read(options)
    return asdict(_read_options(info(name), options))


def initial_model(
    name: str, *, size: int, identities: int, seed: int, options: Mapping[str, Option] = _NO_OPTIONS
) -> nn.Module:
    """Make a model with the initial weights of a seed: a function of the arguments alone.

    Args:
        name: One of `names()`, or `package.module:factory` for a user's: a callable
            `factory(size=..., identities=..., **options)` that gives an `nn.Module`. Its
            `forward(pictures, identities)` takes pictures (slices, batch, 3, size, size) in [0, 1] and an
            identity for each slice, and gives pictures of the same shape or a `Prediction`. It draws its
            weights from torch's default generator, which is seeded. See docs/own-models.md.
        size: Side of the pictures in pixels.
        identities: The number of identities.
        seed: The trial's.
        options: The model's, see its options class.

    Raises:
        LossariumError: there is no such model or option, the model does not take this size, or a user's model
            cannot be imported or breaks the contract.

    >>> model = initial_model("compact", size=32, identities=2, seed=0, options={"icnr": False})
    """
    if is_users(name):
        model = built(own_model(name), size=size, identities=identities, options=options, seed=seed)
    else:
        declared = info(name)
        begin = _seeded if declared.draws_its_weights else _initialised
        model = begin(declared, size, identities, _read_options(declared, options), seed)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def parameter_count(
    name: str, *, size: int, identities: int, options: Mapping[str, Option] = _NO_OPTIONS
) -> int:
    """The number of weights of a model. Allocates no memory for them, unless the model is a user's.

    Raises:
        LossariumError: as `initial_model`.

    >>> parameter_count("original", size=64, identities=2)
    82062470
    """
    if is_users(name):
        return _count(built(own_model(name), size=size, identities=identities, options=options, seed=0))
    declared = info(name)
    with torch.device("meta"):
        return _count(declared.architecture(size, identities, _read_options(declared, options)))


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of all weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        # As bytes, because numpy does not know bfloat16.
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _seeded(declared: ModelInfo, size: int, identities: int, options: Any, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return declared.architecture(size, identities, options)


def _initialised(declared: ModelInfo, size: int, identities: int, options: Any, seed: int) -> nn.Module:
    # On the meta device first: torch would spend seconds on drawing weights that are then replaced.
    with torch.device("meta"):
        model = declared.architecture(size, identities, options)
    try:
        model.to_empty(device="cpu")
    except RuntimeError:
        gigabytes = 4e-9 * _count(model)
        raise LossariumError(
            f"the weights of {declared.name} take {gigabytes:.1f} GB, more than is free; lower its options"
        ) from None
    initialise(model, seed, icnr=options.icnr)
    return model


def _count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


_MODELS: tuple[ModelInfo, ...] = (
    ModelInfo("compact", "small enough to be trained on a CPU in minutes", 64, CompactOptions, Compact, True),
    ModelInfo(
        "lightweight", "faceswap's model for small graphics cards", 64, LightweightOptions, lightweight
    ),
    ModelInfo("original", "the first face-swap model", 64, OriginalOptions, original),
    ModelInfo("dfl_h128", "DeepFaceLab's H128", 128, DflH128Options, dfl_h128),
    ModelInfo("dfl_sae", "DeepFaceLab's SAE, df or liae", 128, DflSaeOptions, dfl_sae),
)


def _read_options(model: ModelInfo, options: Mapping[str, Option]) -> Any:
    kinds = {field.name: type(field.default) for field in fields(model.options)}
    for option, value in options.items():
        if option not in kinds:
            raise LossariumError(f'{model.name} has no option "{option}"; {nearest(option, tuple(kinds))}')
        # Not isinstance, which takes True for an int.
        if type(value) is not kinds[option]:
            raise LossariumError(
                f"the option {option} of the model {model.name} is {KINDS[kinds[option]]}, not {value!r}"
            )
    return model.options(**options)
