"""Measuring the cost of losses."""

import time
from dataclasses import replace

from lossarium.losses import built_in, registry
from lossarium.losses.cost import costs


def test_a_loss_that_does_ten_times_the_work_costs_more_than_one_that_does_it_once(monkeypatch):
    mse = registry.info("mse")

    def sleeping(input, target, *, weight=None, reduction="mean"):
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return mse.function(input, target, weight=weight, reduction=reduction)

    slow = replace(mse, name="slow", function=sleeping)
    monkeypatch.setattr(built_in, "LOSSES", (mse, slow))
    seen = []
    first, second = costs(("mse", "slow"), lambda done, total: seen.append((done, total)), shape=(1, 3, 8, 8))
    assert first.times_mse == 1
    assert second.seconds >= 0.02
    assert second.times_mse == second.seconds / first.seconds
    assert second.times_mse > 2
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_measures_are_timed_without_a_gradient(monkeypatch):
    mse = registry.info("mse")
    asked = []

    def watched(input, target, *, weight=None, reduction="mean"):
        asked.append(input.requires_grad)
        return mse.function(input, target, weight=weight, reduction=reduction)

    measure = replace(mse, name="measure", function=watched, not_minimised="it is a measure")
    monkeypatch.setattr(built_in, "LOSSES", (mse, measure))
    (cost,) = costs(("measure",), shape=(1, 3, 8, 8))
    assert not cost.with_backward
    assert not any(asked)


def test_pictures_too_small_for_a_loss_leave_it_without_cost():
    (cost,) = costs(("lpips",), shape=(1, 3, 8, 8))
    assert cost.seconds is cost.times_mse is None
