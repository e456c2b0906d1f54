"""Texts such as `"cosine(restarts=3, floor=1e-6)"`: how optimisers, schedules and clippings are written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest

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
    """By name; a value without a name has the key ""."""

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
    """The canonical text: reading it gives equal values, to the last bit but for the sign of 0."""
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
