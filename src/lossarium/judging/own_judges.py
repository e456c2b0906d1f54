"""Users' own judges: functions of (prediction, truth) or (prediction, truth, weight), with one value per
picture.

docs/own-judges.md has the contract; a function that breaks it is an error that names the rule.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.judging.declaration import Judge
from lossarium.losses.registry import info
from lossarium.own_code import import_own, in_short, is_own
from lossarium.text.listed_names import JUDGES

_MOST_DIGITS = 10
_LONGEST_TEXT = 200

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_registered: dict[str, Judge] = {}


@overload
def register(function: FunctionT, /) -> FunctionT: ...


@overload
def register(
    *,
    name: str | None = None,
    title: str | None = None,
    unit: str | None = None,
    higher_is_better: bool | None = None,
    digits: int | None = None,
    home_of: Iterable[str] | None = None,
    description: str | None = None,
) -> Callable[[FunctionT], FunctionT]: ...


def register(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    unit: str | None = None,
    higher_is_better: bool | None = None,
    digits: int | None = None,
    home_of: Iterable[str] | None = None,
    description: str | None = None,
) -> Any:
    """Make a function a judge, as a decorator: `@register` or `@register(higher_is_better=True, unit="dB")`.

    Sets the arguments as attributes of the function, and returns the function itself. The judge is then known
    by its name within this process; the command line names it `package.module:name`.

    Args:
        function: (prediction, truth) or (prediction, truth, weight) -> one value per picture.
        name: Name of the judge; the function's own name by default.
        title: Heading in tables; the name by default.
        unit: Such as "dB"; empty by default.
        higher_is_better: Whether higher values are better; lower ones are by default.
        digits: Decimals worth showing; 3 by default.
        home_of: Names of the losses that minimise this measure or a close relative: the judge has no vote on
            them. A loss of the judge's own name is always among them.
        description: A sentence; the first line of its docstring by default.

    Raises:
        LossariumError: a built-in judge has the name, or an attribute has a wrong type or value.
    """
    given = {
        "title": title,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "digits": digits,
        "home_of": home_of if home_of is None or isinstance(home_of, str) else tuple(home_of),
        "description": description,
    }

    def registering(function: FunctionT) -> FunctionT:
        for attribute, value in given.items():
            if value is not None:
                setattr(function, attribute, value)
        known_as = str(name or getattr(function, "__name__", type(function).__name__))
        if known_as in JUDGES or not known_as.isidentifier():
            why = "a built-in judge has that name" if known_as in JUDGES else "that is not a Python name"
            raise LossariumError(f'a judge cannot be registered as "{known_as}": {why}; choose another name')
        _registered[known_as] = _declared(known_as, function)
        return function

    return registering if function is None else registering(function)


def registered() -> tuple[Judge, ...]:
    """The judges registered in this process."""
    return tuple(_registered.values())


@cache
def own_judge(name: str) -> Judge:
    """Import the judge `package.module:name`; a class is called without arguments to make one.

    Raises:
        LossariumError: it cannot be imported, takes other arguments, or an attribute is wrong.
    """
    function = import_own(name, "judge")
    if isinstance(function, type):
        try:
            made = function()
        except Exception as error:
            raise LossariumError(f"the judge {name}() failed: {in_short(error)}") from error
        if not callable(made):
            raise LossariumError(f"the judge {name} is a class whose objects cannot be called; add __call__")
        function = made
    return _declared(name, function)


def _declared(name: str, function: Callable[..., Any]) -> Judge:
    """Make a judge of a function and its attributes."""
    if isinstance(function, nn.Module):
        function.eval().requires_grad_(False)
    return Judge(
        name=name,
        title=_text(name, function, "title", name.rpartition(":")[2]),
        unit=_text(name, function, "unit", ""),
        higher_is_better=_higher_is_better(name, function),
        digits=_digits(name, function),
        measure=_Measure(name, function, _takes_weight(name, function)),
        home_of=_home_of(name, function),
        description=_text(name, function, "description", _first_line(function)),
        direction_declared=hasattr(function, "higher_is_better"),
    )


class _Measure:
    """Calls a user's function and checks its values against the contract."""

    def __init__(self, name: str, function: Callable[..., Any], takes_weight: bool) -> None:
        self._name, self._function, self._takes_weight = name, function, takes_weight

    def __call__(self, prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
        # Copies, so that a judge that changes its arguments in place does not change them for the next one.
        arguments = [prediction.clone(), truth.clone()]
        if self._takes_weight:
            arguments.append(weight if weight is None else weight.clone())  # type: ignore[arg-type]
        elif weight is not None:
            # Without a weight argument: pixels that do not count are made equal in both pictures.
            arguments[0] = weight * prediction + (1 - weight) * truth
        try:
            values = self._function(*arguments)
        except LossariumError:
            raise
        except Exception as error:
            raise LossariumError(
                f"the judge {self._name} failed on pictures of shape {tuple(prediction.shape)}: "
                f"{in_short(error)}"
            ) from error
        return self._checked(values, len(prediction))

    def _checked(self, values: Any, count: int) -> Tensor:
        wanted = f"it has to give one number per picture, a tensor of shape ({count},)"
        try:
            tensor = torch.as_tensor(values).to("cpu", torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LossariumError(
                f"the judge {self._name} gives a {type(values).__name__}; {wanted}"
            ) from error
        if tensor.shape != (count,):
            raise LossariumError(
                f"the judge {self._name} gives values of shape {tuple(tensor.shape)}; {wanted}: "
                "take the mean over channels and pixels, not over pictures"
            )
        return tensor


def _takes_weight(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function takes a weight, told from the number of its positional arguments."""
    try:
        # The signature of __call__ is (*args, **kwargs), so look at forward.
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):
        # Functions written in C have no signature.
        return False
    for arguments in (3, 2):
        try:
            signature.bind(*range(arguments))
        except TypeError:
            continue
        return arguments == 3
    raise LossariumError(
        f"the judge {name}{signature} cannot be called; "
        "it has to take (prediction, truth) or (prediction, truth, weight)"
    )


def _text(name: str, function: Any, attribute: str, default: str) -> str:
    value = getattr(function, attribute, None)
    if value is None:
        return default
    if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST_TEXT:
        raise _wrong(name, attribute, f"a line of at most {_LONGEST_TEXT} characters", value)
    return value


def _higher_is_better(name: str, function: Any) -> bool:
    value = getattr(function, "higher_is_better", False)
    if not isinstance(value, bool):
        raise _wrong(name, "higher_is_better", "True or False", value)
    return value


def _digits(name: str, function: Any) -> int:
    value = getattr(function, "digits", 3)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_DIGITS:
        raise _wrong(name, "digits", f"a whole number from 0 to {_MOST_DIGITS}", value)
    return value


def _home_of(name: str, function: Any) -> frozenset[str]:
    value = getattr(function, "home_of", ())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _wrong(name, "home_of", 'a list of losses, such as ["mse"]', value)
    home = frozenset(value)
    for loss in home:
        if not isinstance(loss, str):
            raise _wrong(name, "home_of", 'a list of losses, such as ["mse"]', value)
        if not is_own(loss):
            try:
                info(loss)
            except LossariumError as error:
                raise LossariumError(f"home_of of the judge {name}: {error}") from None
    return home


def _wrong(name: str, attribute: str, wanted: str, value: object) -> LossariumError:
    return LossariumError(f"{attribute} of the judge {name} has to be {wanted}, not {value!r:.100}")


def _first_line(function: Any) -> str:
    documented = inspect.getdoc(function) if inspect.isroutine(function) else type(function).__doc__
    line = (documented or "").strip().partition("\n")[0].strip()
    return line if line.isprintable() and len(line) <= _LONGEST_TEXT else ""
