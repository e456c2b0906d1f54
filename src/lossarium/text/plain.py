"""Plain substitutes for characters that an encoding lacks, such as cp1252, ASCII or latin-1."""

import codecs
import unicodedata
from functools import cache

_ERRORS = "lossarium.plain"
_SUBSTITUTES = {
    "±": "+-",
    "↑": "^",
    "↓": "v",
    "→": "->",
    "←": "<-",
    "⌂": "*",
    "…": "...",
    "·": "*",
    "×": "x",  # noqa: RUF001 - a multiplication sign
    "÷": "/",
    "°": " deg",
    "−": "-",  # noqa: RUF001 - a minus sign
    "–": "-",  # noqa: RUF001 - a dash
    "—": "-",
    "‘": "'",  # noqa: RUF001 - a quotation mark
    "’": "'",  # noqa: RUF001 - a quotation mark
    "“": '"',
    "”": '"',
    "∞": "inf",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "√": "sqrt",
    "Σ": "sum",
    "∑": "sum",
    "∇": "grad",
    "²": "^2",
    "³": "^3",
    "½": "1/2",
    "\N{NO-BREAK SPACE}": " ",
}
# Box drawing and block elements; spinners are drawn with Braille.
_BOXES, _BRAILLE = range(0x2500, 0x25A0), range(0x2800, 0x2900)


def plain(text: str, encoding: str | None) -> str:
    """Replace the characters that an encoding cannot write by plain substitutes; keep all others.

    Signs become ASCII that looks or reads similarly, table lines become - and |, and Greek letters their
    names. Anything else, such as a letter in a file's name or a byte that is not UTF-8, is escaped as in
    Python.

    Args:
        text: Any text.
        encoding: Name of the encoding; None, or a name that Python does not know, means ASCII.

    Example:
        >>> plain("±0.5 ↑", "ascii")
        '+-0.5 ^'
        >>> plain("café ±", "cp1252")
        'café ±'
    """
    if text.isascii():
        return text
    encoding = _known(encoding or "ascii")
    try:
        text.encode(encoding)
    except UnicodeError:
        return text.encode(encoding, _ERRORS).decode(encoding)
    return text


@cache
def _known(encoding: str) -> str:
    codecs.register_error(_ERRORS, _substituted)
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return "ascii"


def _substituted(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs.register_error`: ASCII in place of what cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_substitute, error.object[error.start : error.end])), error.end


def _substitute(character: str) -> str:
    if (known := _SUBSTITUTES.get(character)) is not None:
        return known
    if ord(character) in _BRAILLE:
        return "*"
    name = unicodedata.name(character, "")
    if ord(character) in _BOXES:
        return "|" if name.endswith("VERTICAL") else "-" if name.endswith("HORIZONTAL") else "+"
    if name.startswith(("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER ")) and " WITH " not in name:
        return name.split()[-1].lower()
    return character.encode("ascii", "backslashreplace").decode("ascii")
