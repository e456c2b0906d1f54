"""NAME=VALUE on the command line."""

import tomllib
from typing import Any

from lossarium.errors import LossariumError


def assigned(text: str, what: str) -> tuple[str, Any]:
    """Split NAME=VALUE. The value is read as TOML (1e-5, true), or else taken as text without quotes.

    Args:
        text: As the user typed it.
        what: The subject of the error message, such as "settings are".

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
