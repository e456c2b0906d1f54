"""Learning-rate schedules. The golden values are torch's own schedulers, run here."""

import doctest
import json
import math
import warnings
from dataclasses import asdict

import pytest
import torch
from torch.optim import lr_scheduler

from lossarium.errors import LossariumError
from lossarium.training.options import schedules
from lossarium.training.options.schedules import PlateauState, advance, learning_rate, parse
from tests.bounds import rounding_error

BASE = 0.01
# A rate is made in float64, in some eight roundings.
ROUNDED = rounding_error(8, torch.float64)
# torch makes a rate from the one before, in some eight roundings per step, of 60. A cosine's step divides
# by 1 + cos(pi k / 60), near 2 (pi (60 - k) / 120)^2 at the end, which has lost as many roundings as its
# reciprocal says: together less than 60^2 / pi^2 * 2 (1 + 1/4 + 1/9 + ...) = 1200, in two such terms.
RECURSION = rounding_error(60 * 8 + 2 * 1200, torch.float64)


def torchs(scheduler_of, steps):
    """The rates of a torch scheduler at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    with warnings.catch_warnings():
        # SequentialLR calls its parts in a way that torch itself warns of.
        warnings.simplefilter("ignore", UserWarning)
        scheduler = scheduler_of(optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def ours(text, steps):
    schedule = parse(text)
    return [learning_rate(schedule, BASE, step, steps) for step in range(1, steps + 1)]


def warmed(optimizer, warmup, then):
    linear = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup)
    return lr_scheduler.SequentialLR(optimizer, [linear, then], milestones=[warmup])


@pytest.mark.parametrize(
    ("text", "scheduler"),
    [
        ("constant", lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("step(every=7, factor=0.3)", lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
        ("multi_step(at=[10, 35], factor=0.2)", lambda o: lr_scheduler.MultiStepLR(o, [10, 35], 0.2)),
        ("exponential(every=1, factor=0.95)", lambda o: lr_scheduler.ExponentialLR(o, 0.95)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 60)),
        ("cosine(floor=1e-4)", lambda o: lr_scheduler.CosineAnnealingLR(o, 60, 1e-4)),
        ("cosine(restarts=3)", lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 15)),
        (
            "cosine(restarts=1, growth=2, floor=1e-3)",
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, 2, 1e-3),
        ),
        ("one_cycle", lambda o: lr_scheduler.OneCycleLR(o, BASE, total_steps=61, cycle_momentum=False)),
        (
            "cosine(warmup=12)",
            lambda o: warmed(o, 12, lr_scheduler.CosineAnnealingLR(o, 48)),
        ),
        ("step(warmup=5, every=9)", lambda o: warmed(o, 5, lr_scheduler.StepLR(o, 9, 0.5))),
    ],
)
def test_equals_torchs_scheduler(text, scheduler):
    # torch's one-cycle refuses a step after its last, so it is given one more and compared over all but that.
    steps = 61 if text == "one_cycle" else 60
    expected = torchs(scheduler, 60)
    assert ours(text, steps)[:60] == pytest.approx(expected, rel=RECURSION, abs=0)


def test_restarts_are_exact_despite_rounding():
    rates = ours("cosine(restarts=6)", 49)
    assert [step for step, rate in enumerate(rates) if rate == BASE] == [0, 7, 14, 21, 28, 35, 42]


def test_warm_up_rises_in_equal_parts_and_milestones_count_from_the_start():
    rates = ours("multi_step(at=[6], factor=0.5, warmup=3)", 10)
    shares = (0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.5, 0.5)
    assert rates == pytest.approx([BASE * share for share in shares], rel=ROUNDED, abs=0)


@pytest.mark.parametrize("kind", [kind for kind in schedules.KINDS if kind != "multi_step"])
@pytest.mark.parametrize("warmup", [0, 4, 300])
def test_rates_are_positive_bounded_and_go_on_past_the_end(kind, warmup):
    schedule = parse(f"{kind}(warmup={warmup})")
    for steps in (1, 2, 3, 20):
        rates = [learning_rate(schedule, BASE, step, steps) for step in range(1, 2 * steps + warmup + 2)]
        assert all(0 <= rate <= BASE * (1 + ROUNDED) for rate in rates)
        assert rates[0] > 0 or (kind == "one_cycle" and steps == 1)
        assert rates[-1] == learning_rate(schedule, BASE, 10**9, steps) or kind in ("step", "exponential")


def test_the_floor_holds_but_never_lifts_the_rate():
    for kind in ("step(every=1, floor=0.001)", "exponential(every=1, floor=0.001)", "cosine(floor=0.001)"):
        assert min(ours(kind, 50)) >= 0.001
        schedule = parse(kind)
        assert {learning_rate(schedule, 1e-5, step, 50) for step in range(1, 60)} == {1e-5}


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("options", ["", "factor=0.5, patience=2", "patience=1, cooldown=3, threshold=0.01"])
def test_plateau_equals_torchs(higher_is_better, options):
    schedule = parse(f"plateau({options})")
    scores = [10 + 3 * math.sin(i / 3) + math.sin(7.0 * i) + 0.02 * i for i in range(120)]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "max" if higher_is_better else "min",
        factor=schedule.factor,
        patience=schedule.patience,
        threshold=schedule.threshold,
        cooldown=schedule.cooldown,
        eps=0.0,
    )
    state = PlateauState()
    for score in scores:
        scheduler.step(score)
        state = advance(schedule, state, score, higher_is_better=higher_is_better)
        # A state that went through a checkpoint goes on alike.
        state = PlateauState(**json.loads(json.dumps(asdict(state))))
        rate = learning_rate(schedule, BASE, 5, 10, state)
        # torch multiplies once a fall.
        allowed = rounding_error(state.falls + 4, torch.float64)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=allowed, abs=0)
    assert state.falls > 1


def test_plateau_handles_nan_and_negative_scores():
    schedule = parse("plateau(patience=0, threshold=0.1)")
    state = advance(schedule, PlateauState(), math.nan, higher_is_better=True)
    assert state == PlateauState(None, 0, 0, 1)
    state = advance(schedule, PlateauState(best=-1.0), -0.95, higher_is_better=True)
    assert (state.best, state.falls) == (-1.0, 1)
    assert advance(schedule, PlateauState(best=-1.0), -0.85, higher_is_better=True) == PlateauState(-0.85)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("constant", "constant"),
        (" constant ( ) ", "constant"),
        ("step(every=1000)", "step"),
        ("step(every=1e3, factor=.25)", "step(factor=0.25)"),
        ("multi_step(at=[1000,2000], factor=0.5)", "multi_step(at=[1000, 2000], factor=0.5)"),
        ("cosine(restarts=3, floor=1e-6) ", "cosine(floor=1e-06, restarts=3)"),
        ("cosine(growth=2)", "cosine(growth=2)"),
        ("one_cycle(warmup=5)", "one_cycle(warmup=5)"),
        ("plateau(threshold=0)", "plateau(threshold=0)"),
    ],
)
def test_reads_and_writes_canonically(text, canonical):
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a name with options"),
        ("cosin", "did you mean cosine"),
        ("cosine(restart=3)", "did you mean restarts"),
        ("cosine(3)", "no value without a name"),
        ("cosine(restarts=1.5)", "restarts is a whole number"),
        ("cosine(restarts=true)", "restarts is a whole number"),
        ("cosine(restarts=1000000000)", "from 0 to 1000"),
        ("cosine(floor=nan)", "floor is a number"),
        ("cosine(floor=inf)", "floor is a learning rate"),
        ("cosine(floor=-1)", "floor is a learning rate"),
        ("cosine(floor=1, floor=2)", "given twice"),
        ("cosine(floor=)", "option=value"),
        ("cosine(floor=1))", "option=value"),
        ("cosine(floor=1", "a name with options"),
        ("cosine + step", "a name with options"),
        ("step(every=0)", "1 or more"),
        ("step(every=[1, 2])", "a whole number"),
        ("step(factor=2)", "at most 1"),
        ("step(warmup=-1)", "0 or more"),
        ("multi_step", "after which steps"),
        ("multi_step(at=5)", "a list"),
        ("multi_step(at=[5, 5])", "each above"),
        ("multi_step(at=[1.5])", "whole numbers"),
        ("multi_step(at=[a])", "holds numbers"),
        ("multi_step(at=[0, 5])", "1 or more"),
        ("one_cycle(rise=1.5)", "a share from 0 to 1"),
        ("plateau(factor=1)", "below 1"),
        ("step(every=" + "9" * 500 + ")", "a whole number"),
        ("constant(" * 300, "at most 1000"),
    ],
)
def test_says_what_is_wrong(text, said):
    with pytest.raises(LossariumError, match=said) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_examples_in_docstrings():
    assert doctest.testmod(schedules).attempted > 0
    assert doctest.testmod(schedules).failed == 0
