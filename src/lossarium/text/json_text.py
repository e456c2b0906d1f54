"""`json` for files that people may have written: what is wrong is said in plain words."""

import json
from typing import Any, NoReturn

# How Python's messages begin, in all versions, and what they mean.
_MEANINGS = {
    "Expecting value": "a value is missing or misspelt",
    "Expecting property name": "a name in double quotes is missing",
    "Expecting ':'": "a colon is missing",
    "Expecting ','": "a comma or a closing bracket is missing",
    "Illegal trailing comma": "the last comma is one too many",
    "Extra data": "there is more text after its end",
    "Unterminated string": "a text without a closing quote begins",
    "Invalid control character": "a line break or another control character is inside a text",
    "Invalid \\": "a backslash in a text is followed by something other than a valid escape",
}


def parse_json(text: str) -> Any:
    """`json.loads`, which refuses NaN and Infinity and accepts a byte order mark.

    Raises:
        ValueError: it is not JSON; the message says what is wrong and where, in a few words.

    Example:
        >>> parse_json('{"a": 1,}')
        Traceback (most recent call last):
            ...
        ValueError: in line 1, column 9, a name in double quotes is missing
    """
    # Editors on Windows begin a file with a byte order mark.
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        meanings = (meaning for begun, meaning in _MEANINGS.items() if error.msg.startswith(begun))
        meaning = next(meanings, "there is a mistake")
        raise ValueError(f"in line {error.lineno}, column {error.colno}, {meaning}") from error
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):
            raise ValueError("a number has too many digits") from error
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
