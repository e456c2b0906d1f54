"""Formats names, numbers and reasons for the middle of a sentence."""

from collections.abc import Sequence
from pathlib import Path

_MOST_NAMED = 10


def printable_name(name: Path | str) -> str:
    """A path or a name on one line: line breaks, control codes and undecodable bytes are escaped."""
    text = name if isinstance(name, str) else name.as_posix()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def reason_of(error: Exception) -> str:
    """Why an operation failed, such as "permission denied", without the path that `OSError` appends."""
    text = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return text[:1].lower() + text[1:]


def counted(number: int, noun: str) -> str:
    """ "1 picture" or "3 pictures"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(items: Sequence[str]) -> str:
    """The first ten items, followed by the number of the others."""
    named = ", ".join(map(printable_name, items[:_MOST_NAMED]))
    rest = len(items) - _MOST_NAMED
    return f"{named} and {rest} more" if rest > 0 else named
