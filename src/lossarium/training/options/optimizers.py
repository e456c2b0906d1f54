"""Optimisers by name: torch's, and those of the package pytorch-optimizer where it is installed.

The second half converts the whole state of any of them to plain tensors and plain JSON, and back, bitwise.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest
from lossarium.training.options.syntax import Value, call_text, read_call

_TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
NAMES = tuple(_TORCH)
"""The optimisers that need no further package."""

# Arguments of constructors that are no options: the trainer sets them, not the user.
_NO_OPTIONS = frozenset(
    {"self", "params", "lr", "fused", "foreach", "maximize", "capturable", "differentiable", "kwargs"}
)
# Optimisers of pytorch-optimizer that cannot be used: some need more of the training loop than a gradient and
# a call of step(), and some draw from the global random state, which no checkpoint holds.
_REFUSED = {
    "evaluates the loss within a step": ("lbfgs", "alig", "bsam"),
    "needs second derivatives": ("adahessian", "sophiah"),
    "takes the place of the backward pass": ("lomo", "adalomo"),
    "needs several processes": ("demo", "distributedmuon"),
    "draws random numbers of its own": ("alice", "gravity", "kron", "magma", "sara", "spam"),
    "trains other weights than it judges": ("schedulefreeadamw", "schedulefreeradam", "schedulefreesgd"),
}


@dataclass(frozen=True)
class Optimizer:
    """Which optimiser, with which options. `str()` writes it, `parse()` reads it.

    An option that is None is the optimiser's own default: betas (0.9, 0.999); epsilon 1e-8; weight_decay 0,
    and 0.01 for adamw; momentum 0; nesterov false. Those of pytorch-optimizer have defaults of their own.
    """

    name: str = "adam"
    betas: tuple[float, ...] | None = None
    """Decay of the averages of the gradient and of its square, each in [0, 1)."""
    epsilon: float | None = None
    """Keeps the divisor from 0."""
    weight_decay: float | None = None
    """Decoupled from the gradient for adamw; for the others of torch it is an L2 penalty."""
    momentum: float | None = None
    nesterov: bool | None = None
    options: tuple[tuple[str, Value], ...] = ()
    """Any other option by its name in the constructor: amsgrad, alpha, centered, dampening, ..."""

    def given(self) -> dict[str, Value]:
        """The options that are given, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)[1:-1]}
        return {key: value for key, value in named.items() if value is not None} | dict(self.options)

    def __str__(self) -> str:
        return call_text(self.name, self.given())


_EXAMPLES: dict[str, Value] = {
    "betas": (0.9, 0.999),
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "nesterov": True,
}


def parse(text: str) -> Optimizer:
    """Read an optimiser. `make` checks whether it takes these options.

    Raises:
        LossariumError: the text is malformed.

    >>> str(parse("sgd(nesterov=true, momentum=.9)"))
    'sgd(momentum=0.9, nesterov=true)'
    """
    call = read_call(text, "optimiser")
    values = call.values(call.options | _EXAMPLES)
    if "" in values:
        raise call.error("an option is written with its name, as in weight_decay=0.01")
    known = {key: values.pop(key) for key in _EXAMPLES if key in values}
    return Optimizer(call.name.lower(), **known, options=tuple(sorted(values.items())))


def make(
    config: Optimizer, parameters: Iterable[torch.nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """The optimiser for these parameters.

    adam, adamw and sgd run fused where torch has a fused kernel for the device.

    Raises:
        LossariumError: there is no such optimiser, it is of a package that is not installed, it does not take
            an option, or a value is out of its range.

    >>> weight = torch.nn.Parameter(torch.zeros(3))
    >>> type(make(Optimizer("sgd", momentum=0.9), [weight], 0.1)).__name__
    'SGD'
    """
    held = list(parameters)
    constructor = _TORCH.get(config.name) or _from_package(config.name)
    arguments: dict[str, Any] = {}
    accepted = _accepted(constructor)
    for key, value in config.given().items():
        if key not in accepted:
            raise LossariumError(
                f'the optimiser {config.name} has no option "{key}"; {nearest(key, tuple(accepted))}'
            )
        arguments[accepted[key]] = value
    devices = {parameter.device.type for parameter in held}
    if config.name in ("adam", "adamw", "sgd") and devices <= {"cpu", "cuda"}:
        arguments["fused"] = True
    try:
        return constructor(held, lr=learning_rate, **arguments)
    except (ValueError, TypeError, IndexError, AssertionError, RuntimeError) as error:
        raise LossariumError(
            f'the optimiser "{config}" at a learning rate of {learning_rate:g} is refused: {error}'
        ) from None


def _accepted(constructor: Callable[..., Any]) -> dict[str, str]:
    """Our name of each option -> the constructor's name."""
    names = set(inspect.signature(constructor).parameters) - _NO_OPTIONS
    return {"epsilon" if name == "eps" else name: name for name in sorted(names)}


def _from_package(name: str) -> Callable[..., torch.optim.Optimizer]:
    try:
        # Imported late: it is slow, and few users need it.
        package = importlib.import_module("pytorch_optimizer")
    except ImportError:
        hint = nearest(name, NAMES)
        raise LossariumError(
            f'torch has no optimiser "{name}" ({hint}); if it is one of the package pytorch-optimizer, '
            f"install that first: pip install pytorch-optimizer"
        ) from None
    known = tuple(sorted(set(map(str, package.get_supported_optimizers())) | set(NAMES)))
    if name not in known:
        hint = nearest(name, known)
        raise LossariumError(f'neither torch nor pytorch-optimizer has an optimiser "{name}"; {hint}')
    for reason, names in _REFUSED.items():
        if name in names:
            raise LossariumError(f"the optimiser {name} cannot be used here, since it {reason}; take another")
    constructor: Callable[..., torch.optim.Optimizer] = package.load_optimizer(name)
    return constructor


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of the optimiser's state, each under a unique name, not copied.

    They may be saved without their memory layout: `state_numbers` has it.

    Raises:
        LossariumError: the state holds an object that neither tensors nor JSON can express.
    """
    return _Packer(optimizer).tensors


def state_numbers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All of the state that is not in tensors, as a JSON object: numbers, flags, options, memory layouts.

    Raises:
        LossariumError: the state holds an object that neither tensors nor JSON can express.
    """
    return _Packer(optimizer).numbers


def restore_state(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Load a saved state into a fresh optimiser of the same configuration. Copies the tensors.

    Raises:
        LossariumError: the state is damaged or of another optimiser or model; nothing is changed then.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> first, second = (make(Optimizer("adam"), [weight], 0.1) for _ in range(2))
    >>> weight.sum().backward()
    >>> first.step()
    >>> restore_state(second, state_tensors(first), state_numbers(first))
    >>> second.state[weight]["step"]
    tensor(1.)
    """
    try:
        _restore(optimizer, tensors, numbers)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
        raise LossariumError(
            f"the state of the optimiser cannot be restored ({error}); it is damaged or of another model"
        ) from None


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    name, held = type(optimizer).__name__, _parameters(optimizer)
    if numbers["optimizer"] != name:
        raise ValueError(f"it is of {numbers['optimizer']}, not of {name}")
    if len(numbers["state"]) != len(held) or len(numbers["groups"]) != len(optimizer.param_groups):
        raise ValueError(f"it is of {len(numbers['state'])} parameters, not of {len(held)}")
    home = held[0].device
    states = [_unpacked(tree, tensors, p.device) for tree, p in zip(numbers["state"], held, strict=True)]
    groups = [_unpacked(tree, tensors, home) for tree in numbers["groups"]]
    attributes = _unpacked(numbers["attributes"], tensors, home)
    shared = _unpacked(numbers["shared"], tensors, home)
    if not all(isinstance(part, dict) for part in (*states, *groups, attributes, shared)):
        raise ValueError("it is not made of options")
    if any("params" in group or not set(optimizer.defaults) <= set(group) for group in groups):
        raise ValueError("it has other options")
    # An attribute that replaced a method or a container would break the optimiser.
    taken = (set(vars(optimizer)) - set(_attributes(optimizer))) | set(dir(type(optimizer)))
    if taken & set(attributes) or not all(map(_is_plain, attributes.values())):
        raise ValueError("it has other attributes")

    optimizer.state.clear()
    for parameter, state in zip(held, states, strict=True):
        if state:
            optimizer.state[parameter] = state
    # Some optimisers keep state that all parameters share in the same dictionary, under a string.
    optimizer.state.update(shared)
    for group, options in zip(optimizer.param_groups, groups, strict=True):
        held_by_group = group["params"]
        group.clear()
        group.update(options, params=held_by_group)
    for key in set(_attributes(optimizer)) - set(attributes):
        delattr(optimizer, key)
    vars(optimizer).update(attributes)


class _Packer:
    """Walks through a state once; containers become JSON, tensors get a name.

    "home" marks tensors on the same device as their parameter (for the groups: as the first parameter).
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.optimizer = type(optimizer).__name__
        held = _parameters(optimizer)
        home = held[0].device
        shared = {key: value for key, value in optimizer.state.items() if not isinstance(key, Tensor)}
        self.numbers: dict[str, Any] = {
            "optimizer": self.optimizer,
            "state": [
                self._packed(dict(optimizer.state.get(parameter, {})), str(index), parameter.device)
                for index, parameter in enumerate(held)
            ],
            "shared": self._packed(shared, "shared", home),
            "groups": [
                self._packed({key: group[key] for key in group if key != "params"}, f"group{index}", home)
                for index, group in enumerate(optimizer.param_groups)
            ],
            "attributes": self._packed(_attributes(optimizer), "attribute", home),
        }

    def _packed(self, value: Any, path: str, home: torch.device) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            # JSON has neither NaN nor infinity; hexadecimal digits keep every bit.
            return {"float": value.hex()}
        if isinstance(value, Tensor):
            self.tensors[path] = value.detach()
            return {"tensor": path, "strides": _dense_strides(value), "home": value.device == home}
        if isinstance(value, dict):
            items = value.items()
            return {"dict": [[key, self._packed(item, f"{path}.{key}", home)] for key, item in items]}
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [self._packed(item, f"{path}.{i}", home) for i, item in enumerate(value)]}
        raise LossariumError(
            f"the optimiser {self.optimizer} keeps a {type(value).__name__} in its state, "
            f"which a checkpoint cannot hold; take another optimiser"
        )


def _attributes(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Numbers and flags that an optimiser keeps as attributes instead of in its groups."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if not name.startswith("_") and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _unpacked(tree: Any, tensors: dict[str, Tensor], home: torch.device) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "tensor" in tree:
        return _laid_out(tensors[tree["tensor"]], tree["strides"], home if tree["home"] else None)
    if "dict" in tree:
        return {key: _unpacked(item, tensors, home) for key, item in tree["dict"]}
    items = [_unpacked(item, tensors, home) for item in tree["list" if "list" in tree else "tuple"]]
    return items if "list" in tree else tuple(items)


def _dense_strides(tensor: Tensor) -> list[int] | None:
    """The strides of a tensor that fills its memory without gaps; else None."""
    return list(tensor.stride()) if _is_dense(tensor.shape, tensor.stride()) else None


def _is_dense(shape: Iterable[int], strides: Iterable[int]) -> bool:
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _laid_out(value: Tensor, strides: list[int] | None, device: torch.device | None) -> Tensor:
    """A copy with these strides: fused optimisers iterate over a parameter and its state in memory order."""
    if strides is None:
        return value.detach().to(device or value.device, copy=True).contiguous()
    if not _is_dense(value.shape, strides):
        raise ValueError(f"strides {strides} do not fit the shape {list(value.shape)}")
    laid_out = torch.empty_strided(value.shape, strides, dtype=value.dtype, device=device)
    return laid_out.copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
