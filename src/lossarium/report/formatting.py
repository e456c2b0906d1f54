"""Format numbers for readers."""

import math

from lossarium.evidence.results import Estimate

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def format_value(value: float, digits: int) -> str:
    """`value` with `digits` decimals; a dash for NaN."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    # Adding 0.0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def format_difference(value: float, digits: int) -> str:
    """`value` with its sign, for differences."""
    text = format_value(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def format_interval(estimate: Estimate, digits: int) -> str:
    """An interval, such as `[24.10, 24.61]`."""
    return f"[{format_value(estimate.low, digits)}, {format_value(estimate.high, digits)}]"


def format_range(values: list[float], digits: int = 0) -> str:
    """`500` when all are the same, else `480 to 510`."""
    low, high = format_value(min(values), digits), format_value(max(values), digits)
    return low if low == high else f"{low} to {high}"


def format_seconds(seconds: float) -> str:
    """Seconds, with as many decimals as are meaningful."""
    return format_value(seconds, 0 if seconds >= 100 else 1)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
