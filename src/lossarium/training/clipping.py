"""Gradient clipping as text: `"value(0.5)"`, `"norm(1.0)"`, `"autoclip(percentile=10)"`.

The second half reads and writes such texts, for schedules and optimisers too.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.registry import nearest

HISTORY_LENGTH = 10_000
"""Norms that autoclip remembers."""

NormHistory = deque[float]
"""The norms of the latest steps; `list(history)` goes into a checkpoint, `norm_history(list)` comes back."""


@dataclass(frozen=True)
class Clipping:
    """What keeps gradients from being too large."""

    kind: str = "none"
    """none; value: each component to [-limit, limit]; norm: the L2 norm of all gradients together to at most
    limit; autoclip: that norm to at most a percentile of its own history (Seetharaman et al. 2020, "AutoClip:
    Adaptive gradient clipping for source separation networks", algorithm 1)."""
    limit: float = 1.0
    """Of value and norm."""
    percentile: float = 10.0
    """Of autoclip, from 0 to 100."""

    def __post_init__(self) -> None:
        if self.kind not in CLIPPINGS:
            raise LossariumError(
                f'there is no gradient clipping "{self.kind}"; {nearest(self.kind, CLIPPINGS)}'
            )
        if not 0 < self.limit < math.inf:
            raise LossariumError(f"gradients can be clipped to a limit above 0 only, not to {self.limit:g}")
        if not 0 <= self.percentile <= 100:
            raise LossariumError(f"autoclip's percentile is from 0 to 100, not {self.percentile:g}")

    def __str__(self) -> str:
        if self.kind == "autoclip":
            return call_text(self.kind, {"percentile": self.percentile})
        return self.kind if self.kind == "none" else call_text(self.kind, {"": self.limit})


CLIPPINGS = ("none", "value", "norm", "autoclip")


@dataclass(frozen=True)
class GradientNorm:
    """What `clip` found."""

    norm: float
    """L2 norm of all gradients together, before clipping."""
    finite: bool
    """Whether every component of every gradient is finite; if not, the step must be left out."""
    clipped: bool
    """Whether a gradient may have been changed."""


def parse(text: str) -> Clipping:
    """Read a clipping.

    Raises:
        LossariumError: the text is malformed, the name is unknown, or a value is out of its range.

    >>> parse("norm(2)")
    Clipping(kind='norm', limit=2.0, percentile=10.0)
    >>> str(parse("autoclip"))
    'autoclip(percentile=10)'
    """
    call = read_call(text, "gradient clipping")
    if call.name not in CLIPPINGS:
        raise call.error(nearest(call.name, CLIPPINGS))
    option = {"value": "limit", "norm": "limit", "autoclip": "percentile"}.get(call.name)
    # The one option may be given without its name.
    values = list(call.values({option: 1.0, "": 1.0} if option else {}).values())
    if len(values) > 1:
        raise call.error(f"{option} is given twice")
    return Clipping(call.name, **{option: values[0]} if option and values else {})


def norm_history(norms: Iterable[float] = ()) -> NormHistory:
    """A history for `clip`, empty or with the norms of a checkpoint.

    It holds the latest `HISTORY_LENGTH` norms. Up to there autoclip is the paper's, whose history has no end;
    from there on the percentile follows the training instead of its large first gradients, a loss that is
    changed by hand is forgotten again, and a checkpoint grows by no more than 80 kB.
    """
    return deque(norms, maxlen=HISTORY_LENGTH)


@torch.no_grad()
def clip(parameters: Iterable[Tensor], clipping: Clipping, history: NormHistory) -> GradientNorm:
    """Clip the gradients of parameters in place.

    Gradients with a NaN or an infinity are left as they are and leave no trace in the history.

    Args:
        parameters: Those without a gradient are passed over.
        clipping: What to do.
        history: The norms so far; autoclip adds to it and looks at it, this step's norm included.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip([weight], Clipping("norm", 1.0), norm_history())
    GradientNorm(norm=5.0, finite=True, clipped=True)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = _norm(gradients)
    if not math.isfinite(norm):
        return GradientNorm(norm, finite=False, clipped=False)
    if clipping.kind == "value":
        for gradient in gradients:
            gradient.clamp_(-clipping.limit, clipping.limit)
        return GradientNorm(norm, finite=True, clipped=True)
    limit = math.inf
    if clipping.kind == "norm":
        limit = clipping.limit
    elif clipping.kind == "autoclip":
        # A step without any gradient says nothing about how large gradients are.
        if norm > 0:
            history.append(norm)
        known = np.fromiter(history, np.float64, len(history))
        limit = float(np.percentile(known, clipping.percentile)) if history else math.inf
    # Gradients within the limit keep every bit, which a factor that is nearly 1 would change.
    if norm <= limit:
        return GradientNorm(norm, finite=True, clipped=False)
    for gradient in gradients:
        gradient.mul_(limit / norm)
    return GradientNorm(norm, finite=True, clipped=True)


def _norm(gradients: list[Tensor]) -> float:
    if not gradients:
        return 0.0
    norm = torch.nn.utils.get_total_norm(gradients).item()
    if math.isfinite(norm):
        return norm
    # Squares overflow long before the gradients themselves; float64 tells the two apart.
    squares = [torch.linalg.vector_norm(gradient, dtype=torch.float64).item() ** 2 for gradient in gradients]
    return math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else norm


Value = bool | int | float | str | tuple[int | float, ...]

_LONGEST = 1000
_CALL = re.compile(
    r"\s*(?P<name>[a-z_]\w*)\s*(?:\((?P<arguments>.*)\))?\s*", re.ASCII | re.IGNORECASE | re.DOTALL
)
_ARGUMENT = re.compile(
    r"\s*(?:(?P<name>[a-z_]\w*)\s*=\s*)?(?P<value>\[[^][]*\]|[^][\s,=()]+)\s*(?:,|$)",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf)", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


@dataclass(frozen=True)
class Call:
    """A name with options, as schedules, clippings and optimisers are written: `step(every=1000)`."""

    what: str
    text: str
    name: str
    options: dict[str, Value]
    """A value without a name stands under ""."""

    def values(self, examples: Mapping[str, Value]) -> dict[str, Any]:
        """The options that are given, each of the type of its example.

        Raises:
            LossariumError: an option is unknown or of another type.
        """
        for key in self.options:
            if key not in examples:
                known = nearest(key, tuple(name for name in examples if name))
                unknown = f'no option "{key}"' if key else "no value without a name"
                raise self.error(f"{self.name} has {unknown}, {known}")
        return {key: self._as(key, value, examples[key]) for key, value in self.options.items()}

    def error(self, reason: str) -> LossariumError:
        return LossariumError(f'cannot read the {self.what} "{self.text}": {reason}')

    def _as(self, key: str, value: Value, example: Value) -> Value:
        if isinstance(example, tuple) and isinstance(value, tuple):
            return tuple(_like(example[0], number) if example else number for number in value)
        value = _like(example, value)
        if type(value) is not type(example):
            wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
            raise self.error(f"{key or 'the value'} is {wanted.get(type(example), 'a list such as [1, 2]')}")
        return value


def read_call(text: str, what: str) -> Call:
    """Read a name with options.

    Raises:
        LossariumError: the text is malformed; `what` names what it should have been.

    >>> read_call("multi_step(at=[10, 20], factor=.5)", "schedule").options
    {'at': (10, 20), 'factor': 0.5}
    """
    if len(text) > _LONGEST:
        raise LossariumError(f"a {what} has at most {_LONGEST} characters, not {len(text)}")
    match = _CALL.fullmatch(text)
    if match is None:
        raise Call(what, text, "", {}).error("it is written as a name with options, as in name(option=1)")
    name, arguments, place = match["name"], (match["arguments"] or "").rstrip(), 0
    call = Call(what, text, name, {})
    while place < len(arguments):
        argument = _ARGUMENT.match(arguments, place)
        if argument is None:
            raise call.error(f'an option is written option=value, not "{arguments[place:].strip()}"')
        key = argument["name"] or ""
        if key in call.options:
            raise call.error(f"{key or 'a value without a name'} is given twice")
        call.options[key] = _value(call, argument["value"])
        place = argument.end()
    return call


def call_text(name: str, options: Mapping[str, Value]) -> str:
    """The canonical text: reading it gives the same values again, to the last bit."""
    given = ", ".join(
        f"{key}={_text(value)}" if key else _text(value) for key, value in sorted(options.items())
    )
    return f"{name}({given})" if given else name


def _value(call: Call, text: str) -> Value:
    if text.startswith("["):
        items = text[1:-1].split(",") if text[1:-1].strip() else []
        if not all(_NUMBER.fullmatch(item.strip()) for item in items):
            raise call.error(f"a list holds numbers, not {text}")
        return tuple(_number(item.strip()) for item in items)
    if _NUMBER.fullmatch(text):
        return _number(text)
    if not re.fullmatch(r"\w+", text, re.ASCII):
        raise call.error(f'"{text}" is no value')
    return {"true": True, "false": False}.get(text.lower(), text)


def _number(text: str) -> int | float:
    if _WHOLE.fullmatch(text) and len(text) < 16:
        return int(text)
    value = float(text)
    # 1e3 steps are 1000 steps.
    return int(value) if "e" in text.lower() and value.is_integer() else value


def _like(example: Value, value: Any) -> Any:
    return float(value) if type(example) is float and type(value) is int else value


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
