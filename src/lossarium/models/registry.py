"""The models by name, with their options and their initial weights."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.models.blocks import initialise
from lossarium.models.compact import Compact, CompactOptions
from lossarium.models.dfl_h128 import DflH128Options, dfl_h128
from lossarium.models.dfl_sae import DflSaeOptions, dfl_sae
from lossarium.models.faceswap import LightweightOptions, OriginalOptions, lightweight, original
from lossarium.models.prediction import predict
from lossarium.own_code import import_own, in_short, is_own
from lossarium.text.suggestions import nearest

Option = bool | int | float | str
"""What an option of a model can be, in TOML as here."""

_NO_OPTIONS: Mapping[str, Option] = MappingProxyType({})


@dataclass(frozen=True)
class ModelInfo:
    """What is declared about a model."""

    name: str
    summary: str
    size: int
    """Side of the pictures that it was designed for, in pixels; it takes every multiple of 16."""
    options: type[Any]
    """Its frozen dataclass of options."""
    architecture: Callable[[int, int, Any], nn.Module]
    """Given size, identities and options, the model."""
    draws_its_weights: bool = False
    """Whether it begins with weights of its own from torch's generator, not with those of `initialise`."""


def names() -> tuple[str, ...]:
    """The names of all models that come with Lossarium, from the cheapest."""
    return tuple(model.name for model in _MODELS)


def info(name: str) -> ModelInfo:
    """What is declared about the model of this name.

    Raises:
        LossariumError: there is none of this name; the nearest names are told.

    >>> info("dfl_sae").size
    128
    """
    for model in _MODELS:
        if model.name == name:
            return model
    raise LossariumError(
        f'there is no model "{name}"; {nearest(name, names())} (your own is named package.module:factory)'
    )


def all_options(name: str, options: Mapping[str, Option] = _NO_OPTIONS) -> dict[str, Option]:
    """The options of a model with the defaults of those that are not given: what pins it in a trial.

    Those of a model of one's own are returned as they are.

    Raises:
        LossariumError: there is no such model or option (the nearest are named), or a value does not fit.

    >>> all_options("dfl_h128", {"encoder_dims": 256})["encoder_dims"]
    256
    """
    if is_own(name):
        return dict(options)
    return asdict(_read_options(info(name), options))


def initial_model(
    name: str, *, size: int, identities: int, seed: int, options: Mapping[str, Option] = _NO_OPTIONS
) -> nn.Module:
    """A model with the initial weights of a seed: a function of the arguments, whatever was drawn before.

    Args:
        name: One of `names()`, or `package.module:factory` for a model of one's own: a callable
            `factory(size=..., identities=..., **options)` that gives an `nn.Module`. Its
            `forward(pictures, identities)` takes pictures (slices, batch, 3, size, size) in [0, 1] and an
            identity for each slice, and gives pictures of the same shape or a `Prediction`. It draws its
            weights from torch's default generator, which is seeded.
        size: Side of the pictures in pixels.
        identities: How many.
        seed: Of the trial.
        options: The model's own, see its options class.

    Raises:
        LossariumError: there is no such model or option, the model does not take this size, or a model of
            one's own cannot be imported or does not do what it has to.

    >>> model = initial_model("compact", size=32, identities=2, seed=0, options={"icnr": False})
    """
    if is_own(name):
        model = _own_model(name, size, identities, options, seed)
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
    """How many weights a model has. Takes no memory for them, unless the model is one's own.

    Raises:
        LossariumError: as `initial_model`.

    >>> parameter_count("original", size=64, identities=2)
    82062470
    """
    if is_own(name):
        return _count(_own_model(name, size, identities, options, seed=0))
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
    # Without weights first: torch would spend seconds on drawing some that are thrown away.
    with torch.device("meta"):
        model = declared.architecture(size, identities, options)
    try:
        model.to_empty(device="cpu")
    except RuntimeError:
        gigabytes = 4e-9 * _count(model)
        raise LossariumError(
            f"there is no memory for a {declared.name} of {gigabytes:.1f} GB; make its options smaller"
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
        # Not isinstance: True is an int to Python, not to a user.
        if type(value) is not kinds[option]:
            raise LossariumError(
                f"the option {option} of the model {model.name} is {_KINDS[kinds[option]]}, not {value!r}"
            )
    return model.options(**options)


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def _own_model(name: str, size: int, identities: int, options: Mapping[str, Option], seed: int) -> nn.Module:
    factory = import_own(name, "model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = factory(size=size, identities=identities, **options)
        except LossariumError:
            raise
        except Exception as error:
            arguments = ", ".join(
                f"{key}={value!r}"
                for key, value in {"size": size, "identities": identities, **options}.items()
            )
            raise LossariumError(f"{name}({arguments}) failed: {in_short(error)}") from error
        if not isinstance(model, nn.Module):
            raise LossariumError(f"{name} gave a {type(model).__name__}; it has to give a torch.nn.Module")
        _check_outputs(name, model, size, identities)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise LossariumError(f"the model {name} has no weights to train; register them as nn.Parameter")
    return model


def _check_outputs(name: str, model: nn.Module, size: int, identities: int) -> None:
    """Try one picture an identity; hours of training are a bad place to find a wrong shape."""
    modes = [(module, module.training) for module in model.modules()]
    pictures = torch.rand(identities, 1, 3, size, size)
    try:
        with torch.no_grad():
            prediction = predict(model.eval(), pictures, range(identities))
    except LossariumError:
        raise
    except Exception as error:
        raise LossariumError(
            f"the model {name} failed on pictures of shape {tuple(pictures.shape)}: {in_short(error)}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    wanted = [("pictures", prediction.pictures, (3, size, size))]
    if prediction.masks is not None:
        wanted.append(("masks", prediction.masks, (1, size, size)))
    wanted += [("coarser pictures", scale, (3, *_square(scale))) for scale in prediction.coarser]
    for what, tensor, shape in wanted:
        if tensor.shape != (identities, 1, *shape) or not tensor.is_floating_point():
            raise LossariumError(
                f"the model {name} gives {what} of shape {tuple(tensor.shape)} and type {tensor.dtype}; they "
                f"have to be {(identities, 1, *shape)} of a floating-point type"
            )


def _square(scale: Tensor) -> tuple[int, int]:
    return (scale.shape[-1], scale.shape[-1]) if scale.ndim else (1, 1)
