"""Convergence: the coverage of the slope's interval, and what counts as converged."""

import doctest
import math

import numpy as np
import pytest
import torch

from lossarium.training import convergence
from lossarium.training.convergence import FEWEST, has_converged, slope
from tests.bounds import rounding_error

STEPS = range(100, 3100, 100)


def noise(source, count, correlation):
    """AR(1), in its stationary state."""
    shocks = source.standard_normal(count)
    errors = [shocks[0]]
    for shock in shocks[1:]:
        errors.append(correlation * errors[-1] + math.sqrt(1 - correlation**2) * shock)
    return np.asarray(errors)


@pytest.mark.parametrize(
    ("freedom", "published"),
    [(1, "12.7062"), (2, "4.30265"), (5, "2.570582"), (10, "2.228139"), (30, "2.042272"), (1e4, "1.9602")],
)
def test_students_t_is_that_of_the_tables(freedom, published):
    # Abramowitz & Stegun 1964, table 26.10, two-sided 95%; the last is nearly the normal's.
    t = float(published)
    last_place = 10.0 ** -len(published.partition(".")[2])
    # Within a step h of the angle a the density's slope is (freedom - 1) tan(a) times itself, which both the
    # trapezium rule and the interpolation leave out: h^2 / 8 of it at most, each. 8193 numbers are added.
    step = math.pi / 2 / 8192
    left_out = step**2 / 4 * (freedom - 1) * (1 + t**2 / freedom) * t
    added = rounding_error(8193, torch.float64) * (freedom + t**2) / math.sqrt(freedom) * math.pi / 2
    assert convergence._student_t(freedom, 0.95) == pytest.approx(t, abs=last_place / 2 + left_out + added)


def test_students_t_lies_between_for_real_degrees_of_freedom():
    assert (
        convergence._student_t(3, 0.95) < convergence._student_t(2.5, 0.95) < convergence._student_t(2, 0.95)
    )


@pytest.mark.parametrize("count", [12, 20, 40])
@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.94), (0.4, 0.93), (0.7, 0.90)])
def test_intervals_hold_the_true_slope(count, correlation, least):
    source = np.random.default_rng([count, int(10 * correlation)])
    steps = np.arange(1, count + 1) * 50
    held = 0
    trials = 400
    for _ in range(trials):
        scores = 20 + 0.003 * steps + noise(source, count, correlation)
        found = slope(steps.tolist(), scores.tolist())
        held += found.low <= 3.0 <= found.high
    # Three standard deviations of a count of this size.
    assert held / trials > least - 3 * math.sqrt(0.05 * 0.95 / trials)


def test_intervals_are_not_needlessly_wide_on_independent_errors():
    source = np.random.default_rng(0)
    exact = 1 / math.sqrt(sum((step - 1550) ** 2 for step in STEPS)) * 1000
    widths = []
    for _ in range(200):
        found = slope(STEPS, noise(source, len(STEPS), 0.0).tolist())
        widths.append((found.high - found.low) / (2 * 2.05 * exact))
    assert 0.9 < float(np.median(widths)) < 1.5


def rounded_slope(scores, steps=STEPS):
    """How far rounding moves a slope: each score, and sums over all of them, by their magnitudes."""
    x = (np.asarray(steps) - np.mean(steps)) / 1000
    roundings = rounding_error(len(steps) + 8, torch.float64)
    return roundings * np.abs(x).sum() * np.abs(scores).max() / (x @ x)


def test_the_slope_does_not_change_with_the_offset_and_scales_with_the_scores():
    scores = np.random.default_rng(1).standard_normal(len(STEPS))
    found = slope(STEPS, scores.tolist())
    moved_scores = 5 - 3 * scores
    moved = slope([step + 7000 for step in STEPS], moved_scores.tolist())
    # Sums over 30 evaluations of scores up to 8, and a margin that depends on the correlation r of residuals
    # by n (1 - r) / (1 + r): n^2 roundings, twice.
    n = len(STEPS)
    allowed = rounding_error(4 * n + 2 * n**2, torch.float64) * 3 * max(abs(found.low), abs(found.high))
    allowed += rounded_slope(moved_scores)
    assert moved.per_thousand_steps == pytest.approx(-3 * found.per_thousand_steps, abs=allowed)
    assert (moved.low, moved.high) == pytest.approx((-3 * found.high, -3 * found.low), abs=allowed)


def test_a_line_without_errors_is_certain_and_a_random_walk_is_not():
    line = [0.5 + 0.002 * step for step in STEPS]
    certain = slope(STEPS, line)
    assert certain.low == certain.high == pytest.approx(2.0, abs=rounded_slope(line))
    flat = slope(STEPS, [7.0] * len(STEPS))
    # A slope of rounding errors would have a sign, and be told as a rise or a fall.
    assert flat.low == flat.high == 0
    assert slope(STEPS, [0.1] * len(STEPS)).high == 0
    walk = np.cumsum(np.random.default_rng(3).standard_normal(len(STEPS)))
    assert slope(STEPS, walk.tolist()).high - slope(STEPS, walk.tolist()).low > 2


@pytest.mark.parametrize(
    ("steps", "scores"),
    [
        (range(FEWEST - 1), range(FEWEST - 1)),
        (range(10), range(9)),
        ([5] * 10, range(10)),
        (range(10), [1.0] * 9 + [math.nan]),
    ],
)
def test_refuses_what_has_no_slope(steps, scores):
    with pytest.raises(ValueError, match="a slope needs"):
        slope(list(steps), list(scores))


def curve(noisy=0.0, rate=400.0, count=60, seed=0):
    """A learning curve that nears 30 from 10."""
    steps = [100 * evaluation for evaluation in range(1, count + 1)]
    errors = noise(np.random.default_rng(seed), count, 0.3)
    return steps, [
        30 - 20 * math.exp(-step / rate) + noisy * e for step, e in zip(steps, errors, strict=True)
    ]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_tells_a_curve_that_has_flattened_from_one_that_rises(higher_is_better):
    sign = 1 if higher_is_better else -1
    steps, scores = curve(noisy=0.05)
    scores = [sign * score for score in scores]
    assert has_converged(steps[:25], scores[:25], higher_is_better=higher_is_better) is None
    found = has_converged(steps, scores, higher_is_better=higher_is_better)
    assert found is not None
    assert found.step == 6000
    assert "steps 4100 to 6000" in found.why
    assert "gained since step 100" in found.why
    assert "\n" not in found.why


def test_noise_that_hides_the_slope_does_not_count_as_convergence():
    steps, scores = curve(noisy=4.0)
    assert has_converged(steps, scores, higher_is_better=True) is None


def test_a_slow_rise_is_rarely_taken_for_convergence():
    wrong = 0
    for seed in range(100):
        steps, scores = curve(noisy=0.1, count=30, seed=seed)
        # Another 19 evaluations of this slope would gain 5% of the 20, more than the 2% asked.
        rising = [score + 1.0 * step / 1900 for step, score in zip(steps, scores, strict=True)]
        wrong += has_converged(steps, rising, higher_is_better=True) is not None
    assert wrong <= 7


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_it_has_converged_when_the_next_window_would_gain_less_than_a_fiftieth(higher_is_better):
    sign = 1 if higher_is_better else -1
    # The first score is 0; all others lie on a line around 100, so that the slope is certain.
    steps = list(range(100, 3100, 100))

    def told(gain):
        """For a line that gains so much in a window of 20 evaluations, 1900 steps."""
        line = [100 + gain * (step - 2050) / 1900 for step in steps[1:]]
        return has_converged(
            steps, [0.0, *(sign * score for score in line)], higher_is_better=higher_is_better
        )

    assert told(2.01) is None
    found = told(1.99)
    assert found.step == 3000
    near = rounded_slope([101], steps[-20:])
    assert found.slope.per_thousand_steps == pytest.approx(sign * 1.99 / 1.9, abs=near)
    assert f"95% interval {sign * 1.05:.3g} to {sign * 1.05:.3g}" in found.why
    assert f"changed by {sign * 1.05:+.3g} per 1,000 steps" in found.why
    assert (
        "another 1900 steps would gain at most 1.99, less than 2% of the 100 gained since step 100"
        in found.why
    )
    # A constant score gains nothing, but does not get worse.
    assert "another 1900 steps would gain at most 0," in told(0.0).why


def test_what_has_gained_nothing_has_not_converged():
    steps = list(range(100, 3100, 100))
    assert has_converged(steps, [7.0] * len(steps), higher_is_better=True) is None


def test_a_trial_that_gets_worse_has_converged():
    steps = list(range(100, 3100, 100))
    scores = [20 - step / 1000 + 0.01 * (-1) ** i for i, step in enumerate(steps)]
    found = has_converged(steps, scores, higher_is_better=True)
    assert found is not None
    assert "getting worse" in found.why
    assert has_converged(steps, scores, higher_is_better=False) is None


def test_too_few_evaluations_or_scores_that_are_not_finite_decide_nothing():
    steps, scores = curve()
    assert has_converged(steps[:19], scores[:19], higher_is_better=True) is None
    assert has_converged(steps, [*scores[:-1], math.nan], higher_is_better=True) is None
    with pytest.raises(ValueError, match="window"):
        has_converged(steps, scores, higher_is_better=True, window=5)


def test_examples_in_docstrings():
    assert doctest.testmod(convergence).attempted > 0
    assert doctest.testmod(convergence).failed == 0
