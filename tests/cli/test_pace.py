"""Speed and time left: sensible texts for any speed, with a fake clock."""

import doctest
import math

import pytest

from lossarium.cli import pace
from lossarium.cli.pace import TimeLeft, duration_text, pace_text


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_examples_in_docstrings():
    assert doctest.testmod(pace).attempted == 2
    assert doctest.testmod(pace).failed == 0


def test_a_first_step_that_compiles_is_left_out_of_the_pace():
    clock = Clock()
    left = TimeLeft(1000, clock)
    clock.now += 2573
    assert left.after(1) == ""
    clock.now += 0.5
    assert left.after(2) == "8 min 19 s left"
    clock.now += 0.5
    assert left.after(3) == "8 min 18 s left"


def test_a_run_that_goes_on_counts_its_own_steps():
    clock = Clock()
    left = TimeLeft(600, clock)
    assert left.after(501) == ""
    clock.now += 36
    assert left.after(502) == "58 min 48 s left"
    assert left.after(600) == "0 s left"


def test_a_run_that_is_rolled_back_counts_from_there():
    clock = Clock()
    left = TimeLeft(100, clock)
    left.after(50)
    clock.now += 10
    assert left.after(40) == ""
    clock.now += 1
    assert left.after(41) == "59 s left"


def test_after_the_third_step_the_total_time_is_reported_once():
    clock = Clock()
    left = TimeLeft(1000, clock)
    told = []
    for step in range(1, 10):
        clock.now += 2.9
        told.append(left.told_once(step))
    assert [sentence for sentence in told if sentence] == [
        "2.9 s a step: the 997 steps left take 48 min 11 s"
    ]
    assert told[2] is not None


@pytest.mark.parametrize("seconds", [0, 1e-9, 0.04, 1, 59.6, 3599.7, 86399.9, 1e7, 1e12, math.inf, math.nan])
def test_no_time_or_pace_is_absurd(seconds):
    text = duration_text(seconds)
    assert "60 s" not in text
    assert "60 min" not in text
    assert "nan" not in text
    assert len(text) < 21
    said = pace_text(1 / seconds) if seconds else ""
    assert said not in ("0.0 steps/s", "0 steps/s", "0.0 s a step")
    assert "nan" not in said
