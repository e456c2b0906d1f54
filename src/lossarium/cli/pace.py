"""Speed and time left as text, for steps of a millisecond and for steps of an hour."""

import math
import time
from collections.abc import Callable

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Longer estimates are not shown: they only tell that the run is too long.
_LONGEST = 1000 * _DAY


def pace_text(steps_per_second: float) -> str:
    """Steps per second, or the time per step if it is longer than a second; empty if not known.

    >>> [pace_text(pace) for pace in (250, 12.34, 0.5, 1 / 36, 1 / 600, 0, float("inf"))]
    ['250 steps/s', '12.3 steps/s', '2.0 s a step', '36 s a step', '10 min a step', '', '']
    """
    if not 0 < steps_per_second < math.inf:
        return ""
    if steps_per_second >= 1:
        return f"{steps_per_second:.{1 if steps_per_second < 100 else 0}f} steps/s"
    seconds = 1 / steps_per_second
    return f"{seconds:.1f} s a step" if seconds < 10 else f"{duration_text(seconds)} a step"


def duration_text(seconds: float) -> str:
    """A time in its two largest units.

    >>> [duration_text(s) for s in (0.2, 75, 3600, 4000, 90000, 1e9)]
    ['0 s', '1 min 15 s', '1 h', '1 h 6 min', '1 d 1 h', 'more than 1,000 days']
    """
    if not seconds < _LONGEST:
        return "more than 1,000 days"
    whole = max(0, round(seconds))
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name} {rest} {smaller_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


class TimeLeft:
    """The time left for all steps, from the pace of this run, evaluations included.

    The first step is left out: it compiles kernels and builds the network's plans.
    """

    def __init__(self, total_steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total_steps, clock
        self._first: tuple[int, float] | None = None

    def after(self, done: int) -> str:
        """As "3 min 20 s left" after so many steps; empty while nothing is known."""
        seconds = self._seconds_a_step(done)
        return "" if seconds is None else f"{duration_text(seconds * max(0, self._total - done))} left"

    def told_once(self, done: int) -> str | None:
        """After the third step of the run, a text on how long a step and all steps take; None after any
        other."""
        seconds = self._seconds_a_step(done)
        if seconds is None or self._first is None or done != self._first[0] + 2:
            return None
        a_step = pace_text(1 / seconds) if seconds > 0 else ""
        left = self._total - done
        steps = "the last step takes" if left == 1 else f"the {left:,} steps left take"
        return f"{a_step}: {steps} {duration_text(seconds * left)}" if a_step and left > 0 else None

    def _seconds_a_step(self, done: int) -> float | None:
        now = self._clock()
        if self._first is None or done < self._first[0]:
            # After a rollback, counting starts again from there.
            self._first = done, now
        first, began = self._first
        return (now - began) / (done - first) if done > first else None
