"""Users' own losses of every form as functions: functions, classes, modules and other callable objects.

A class is built once for each set of options. Modules are copied to the device and type of the pictures, in
evaluation mode and without gradients by their weights.
"""

import copy
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.own_code import in_short

CONTRACT = (
    "a loss of your own is a function (input, target, *, options with defaults), or a class that is built "
    "with the options and called with (input, target), of pictures (N, C, H, W) that returns a tensor of one "
    "value, (), one per picture, (N,), or one per pixel, (N, 1, H, W) or (N, C, H, W)"
)
Made = TypeVar("Made")

_OPTION_TYPES = (bool, int, float, str)
_SHARED = frozenset({"weight", "reduction"})


@dataclass(frozen=True)
class OwnFunction:
    """A user's loss, whatever it is, to be called as (input, target, **options)."""

    call: Callable[..., Any]
    options: tuple[inspect.Parameter, ...]
    """Keywords with a default that a spec can set."""
    taken: frozenset[str]
    """Which of weight and reduction it takes, too."""


def own_function(name: str, given: Any) -> OwnFunction:
    """Read how a user's loss is called; a class is built once, with its defaults.

    Args:
        name: For messages.
        given: A function, a class, a module or another callable object.

    Raises:
        LossariumError: it breaks the contract, or the class cannot be built.
    """
    if inspect.isclass(given):
        built = _Built(name, given)
        _, taken = _read(name, _parameters(name, _called_as(built.object({}))))
        return OwnFunction(built, built.options, taken)
    options, taken = _read(name, _parameters(name, _called_as(given)))
    call = _Moved(name, given) if isinstance(given, nn.Module) else given
    return OwnFunction(call, options, taken)


class _Built:
    """A class as a function whose options are those of its constructor."""

    def __init__(self, name: str, made: type) -> None:
        self._name, self._class = name, made
        parameters = _parameters(name, made)
        self.options = _options(name, parameters)
        # Such as torch.nn.L1Loss: its values pixel by pixel are what weights and maps need.
        self._reduces = any(p.name == "reduction" and isinstance(p.default, str) for p in parameters)
        self._objects: dict[tuple[tuple[str, Any], ...], Any] = {}

    def object(self, options: dict[str, Any]) -> Any:
        # All options, so that naming a default builds no second object.
        options = {option.name: option.default for option in self.options} | options
        key = tuple(sorted(options.items()))
        if key not in self._objects:
            self._objects[key] = _outside_all_modes(partial(self._new, options))
        return self._objects[key]

    def _new(self, options: dict[str, Any]) -> Any:
        fixed = {"reduction": "none"} if self._reduces else {}
        with torch.random.fork_rng(devices=[]):
            # Weights that it draws are the same in every process and for every seed of a comparison.
            torch.manual_seed(0)
            try:
                made = self._class(**options, **fixed)
            except (LossariumError, MemoryError):
                raise
            except Exception as error:
                given = ", ".join(f"{option}={value!r}" for option, value in options.items())
                raise LossariumError(
                    f"{self._name} cannot be built as {self._class.__name__}({given}): {in_short(error)}"
                ) from error
        if not callable(made):
            raise LossariumError(
                f"the objects of the class {self._name} cannot be called; give it a method "
                "__call__(self, input, target)"
            )
        return _Moved(self._name, made) if isinstance(made, nn.Module) else made

    def __call__(self, input: Tensor, target: Tensor, **keywords: Any) -> Any:
        passed = {key: value for key, value in keywords.items() if key in _SHARED}
        options = {key: value for key, value in keywords.items() if key not in _SHARED}
        return self.object(options)(input, target, **passed)


class _Moved:
    """A module as a function: it is called in a copy that is where the pictures are, and of their type."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self._name, self.module = name, module
        self._copies: dict[tuple[torch.device, torch.dtype], nn.Module] = {}

    def __call__(self, input: Tensor, target: Tensor, **keywords: Any) -> Any:
        key = input.device, input.dtype
        if key not in self._copies:
            self._copies[key] = _outside_all_modes(partial(self._copy, *key))
        return self._copies[key](input, target, **keywords)

    def _copy(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        try:
            # What belongs to the user stays as it is.
            module = copy.deepcopy(self.module)
            return module.to(device=device, dtype=dtype).eval().requires_grad_(False)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise LossariumError(
                f"the module {self._name} cannot be copied to {device} as {dtype}: {in_short(error)}"
            ) from error


def _outside_all_modes(make: Callable[[], Made]) -> Made:
    """Make something in a new thread, which has none of torch's modes.

    The first caller may be a judge in inference mode or `torch.export` while it traces, and training needs
    real weights from the same cache.
    """
    with ThreadPoolExecutor(max_workers=1) as alone:
        return alone.submit(make).result()


def _called_as(called: Any) -> Any:
    """What has the signature of a call; that of a module's __call__ is (*args, **kwargs)."""
    if isinstance(called, _Moved):
        called = called.module
    return called.forward if isinstance(called, nn.Module) else called


def _parameters(name: str, function: Any) -> list[inspect.Parameter]:
    for evaluated in (True, False):
        try:
            # Annotations are text under `from __future__ import annotations`.
            return list(inspect.signature(function, eval_str=evaluated).parameters.values())
        except Exception:
            # Evaluating may raise anything, such as a NameError.
            continue
    raise LossariumError(f"{name} has no signature that could be read; {CONTRACT}")


def _read(
    name: str, parameters: list[inspect.Parameter]
) -> tuple[tuple[inspect.Parameter, ...], frozenset[str]]:
    """The options of a call (input, target, ...), and which of weight and reduction it takes itself."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        raise LossariumError(f"{name} does not take input and target; {CONTRACT}")
    options = _options(name, [p for p in parameters if p not in positional[:2]])
    return options, frozenset(p.name for p in parameters) & _SHARED


def _options(name: str, parameters: Iterable[inspect.Parameter]) -> tuple[inspect.Parameter, ...]:
    """Those parameters that a spec can set, as keywords."""
    options = []
    for parameter in parameters:
        if parameter.name in _SHARED or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise LossariumError(f'the option "{parameter.name}" of {name} has no default; {CONTRACT}')
        # Options of other types keep their defaults: a spec cannot express them.
        if type(parameter.default) in _OPTION_TYPES and parameter.kind is not parameter.POSITIONAL_ONLY:
            options.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
    return tuple(options)
