"""Checks the types of the values in a row of `metrics.jsonl`, since the file may have been edited."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

_LARGEST_WHOLE = 1 << 53


def mistake_in(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row, for the middle of a sentence; None if it is valid."""
    for key, value in row.items():
        if key in _KINDS:
            is_right, wanted = _KINDS[key]
            if not is_right(value):
                return f"its {key} is not {wanted}"
    needed = ["step"]
    if "held_out" in row or "finished" in row:
        needed.append("seconds")
    if "finished" in row:
        needed.append("weights")
    if "judged" in row:
        needed += ["held_out", "sample"]
    missing = next((key for key in needed if key not in row), None)
    if missing is not None:
        return f"its {missing} is missing"
    return None if "judged" not in row or _fits(row) else "its sample does not fit its held_out"


def _fits(row: Mapping[str, Any]) -> bool:
    """Whether a sample is of pictures that there are, and each of its pictures has its scores."""
    for key, scores in row["held_out"].items():
        places = row["sample"].get(key.partition("/")[0])
        if places is None or any(one >= other for one, other in pairwise(places)):
            return False
        count = len(scores)
        if count != len(places) if row["judged"] == "sample" else places and places[-1] >= count:
            return False
    return True


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_WHOLE


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _LARGEST_WHOLE)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_numbers_or_null(value: object) -> bool:
    return isinstance(value, dict) and all(one is None or _is_number(one) for one in value.values())


def _are_scores(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(scores, list) and all(map(_is_number, scores)) for scores in value.values()
    )


def _are_places(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(places, list) and all(map(_is_whole, places)) for places in value.values()
    )


def _is_return(value: object) -> bool:
    return isinstance(value, dict) and _is_number(value.get("learning_rate_factor"))


_NUMBER = (_is_number, "a number")
_TEXT = (_is_text, "a text")
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "step": (_is_whole, "a whole number"),
    "seconds": _NUMBER,
    "loss": _NUMBER,
    "gradient_norm": _NUMBER,
    "learning_rate": _NUMBER,
    "terms": (_are_numbers, "a table of numbers"),
    "passed_over": (_are_numbers_or_null, "a table of numbers"),
    "batches": _TEXT,
    "held_out": (_are_scores, "a table of lists of numbers"),
    "judged": (lambda value: value in ("sample", "all"), '"sample" or "all"'),
    "sample": (_are_places, "a table of lists of whole numbers"),
    "control": (lambda value: isinstance(value, dict), "a table"),
    "went_back": (_is_return, "a table with a learning_rate_factor"),
    "finished": (lambda value: value is True, "true"),
    "weights": _TEXT,
    "converged": _TEXT,
}
