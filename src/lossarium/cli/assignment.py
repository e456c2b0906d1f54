"""NAME=VALUE on the command line."""

import tomllib
from typing import Any

from lossarium.errors import LossariumError


def assigned(text: str, what: str) -> tuple[str, Any]:
    """A name and its value, as TOML has it where it does: 1e-5 and true; else a word, which needs no quotes.

    Args:
        text: As it was given.
        what: Who is given it, for the error: "settings are".

    Raises:
        LossariumError: there is no name or no "=".
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise LossariumError(f"{what} given as NAME=VALUE, not {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
