"""Users' own models: a factory (size, identities, **options) that gives a module.

docs/own-models.md has the contract; a model that breaks it is an error that names the rule.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.models.prediction import predict
from lossarium.models.randomness import evaluating
from lossarium.own_code import import_own, in_short, is_own
from lossarium.text.suggestions import nearest

Option = bool | int | float | str
"""The types of a model's options, in TOML as in Python."""

KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
}
"""The name of each type in messages."""

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_GIVEN = ("size", "identities")
BUILT_IN = ("compact", "lightweight", "original", "dfl_h128", "dfl_sae")

FactoryT = TypeVar("FactoryT", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class OwnModel:
    """A user's model, as its factory declares it."""

    name: str
    factory: Callable[..., Any]
    summary: str
    """A line; may be empty."""
    size: int
    """Side of the pictures that it is designed for, in pixels."""
    options: Mapping[str, Option]
    """Option -> default: the factory's parameters beside size and identities that have a plain default."""
    takes_others: bool
    """Whether it takes options beyond those (`**options`)."""

    def read(self, options: Mapping[str, Option]) -> dict[str, Option]:
        """All options: those given, and the defaults of the others.

        Raises:
            LossariumError: there is no such option, or a value does not fit.
        """
        for option, value in options.items():
            if option in _GIVEN or not (option in self.options or self.takes_others):
                known = nearest(option, tuple(self.options))
                raise LossariumError(f'{self.name} has no option "{option}"; {known}')
            default = self.options.get(option)
            # Not isinstance, which takes True for an int.
            fits = default is None or type(value) is type(default)
            if not fits and not (type(default) is float and type(value) is int):
                raise LossariumError(
                    f"the option {option} of the model {self.name} is {KINDS[type(default)]}, not {value!r}"
                )
        return {**self.options, **options}


_registered: dict[str, OwnModel] = {}


@overload
def register(factory: FactoryT, /) -> FactoryT: ...


@overload
def register(
    *, name: str | None = None, summary: str | None = None, size: int = 64
) -> Callable[[FactoryT], FactoryT]: ...


def register(
    factory: Any = None, /, *, name: str | None = None, summary: str | None = None, size: int = 64
) -> Any:
    """Register a factory as a model; a decorator of a function or a class: `@register` or
    `@register(size=128)`.

    The model is then known by its name within this process; the command line names it
    `package.module:factory`.

    Args:
        factory: `factory(size=..., identities=..., **options)`, see docs/own-models.md; returned as it is.
        name: Name of the model; the factory's own name by default.
        summary: A line; the first of its docstring by default.
        size: Side of the pictures that it is designed for, in pixels.

    Raises:
        LossariumError: a built-in model has the name, or the factory does not take size and identities.
    """

    def registering(factory: FactoryT) -> FactoryT:
        known_as = str(name or getattr(factory, "__name__", type(factory).__name__))
        if known_as in BUILT_IN or not known_as.isidentifier():
            why = "a built-in model has that name" if known_as in BUILT_IN else "that is not a Python name"
            raise LossariumError(f'a model cannot be registered as "{known_as}": {why}; choose another name')
        _registered[known_as] = _declared(known_as, factory, summary, size)
        return factory

    return registering if factory is None else registering(factory)


def registered() -> tuple[OwnModel, ...]:
    """The models registered in this process."""
    return tuple(_registered.values())


def is_users(name: str) -> bool:
    """Whether a name is that of a user's model."""
    return is_own(name) or name in _registered


def own_model(name: str) -> OwnModel:
    """A user's model.

    Args:
        name: `package.module:factory`, or the name of one that was registered.

    Raises:
        LossariumError: it cannot be imported, or is not a model's factory.
    """
    if name in _registered:
        return _registered[name]
    factory = import_own(name, "model")
    same = next((model for model in registered() if model.factory is factory), None)
    return _declared(name, factory, same.summary if same else None, same.size if same else 64)


def built(
    model: OwnModel, *, size: int, identities: int, options: Mapping[str, Option], seed: int
) -> nn.Module:
    """Build a user's model with the initial weights of a seed, and try it on one picture per identity.

    Raises:
        LossariumError: the factory fails, or the model breaks the contract.
    """
    options = model.read(options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = model.factory(size=size, identities=identities, **options)
        except LossariumError:
            raise
        except Exception as error:
            given = {"size": size, "identities": identities, **options}
            arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
            raise LossariumError(f"{model.name}({arguments}) failed: {in_short(error)}") from error
        if not isinstance(module, nn.Module):
            raise LossariumError(
                f"{model.name} gave a {type(module).__name__}; it has to give a torch.nn.Module"
            )
        _check_outputs(model.name, module, size, identities)
    if not any(weight.requires_grad for weight in module.parameters()):
        raise LossariumError(f"the model {model.name} has no weights to train; register them as nn.Parameter")
    return module


def _declared(name: str, factory: Callable[..., Any], summary: str | None, size: int) -> OwnModel:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return OwnModel(name, factory, summary or "", size, {}, takes_others=True)
    parameters = signature.parameters
    takes_others = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    by_name = {key: one for key, one in parameters.items() if one.kind in _BY_NAME}
    required = {key for key, one in by_name.items() if one.default is one.empty}
    if required - {*_GIVEN} or not (takes_others or set(_GIVEN) <= set(by_name)):
        raise LossariumError(
            f"{name}{signature} cannot be called as {name}(size=64, identities=2); a model's factory takes "
            "size and identities, and options that have defaults"
        )
    options = {
        key: one.default for key, one in by_name.items() if key not in _GIVEN and type(one.default) in KINDS
    }
    return OwnModel(
        name, factory, _first_line(factory) if summary is None else summary, size, options, takes_others
    )


def _first_line(factory: Any) -> str:
    own = (
        factory.__doc__ if isinstance(factory, type) or inspect.isroutine(factory) else type(factory).__doc__
    )
    return (own or "").strip().partition("\n")[0].strip()


def _check_outputs(name: str, model: nn.Module, size: int, identities: int) -> None:
    """Try one picture per identity, so that a wrong shape is found before hours of training."""
    pictures = torch.rand(identities, 1, 3, size, size)
    try:
        with torch.no_grad(), evaluating(model):
            prediction = predict(model, pictures, range(identities))
    except LossariumError:
        raise
    except Exception as error:
        raise LossariumError(
            f"the model {name} failed on pictures of shape {tuple(pictures.shape)}: {in_short(error)}"
        ) from error
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
