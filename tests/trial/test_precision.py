"""bf16 that is slower than float32 is found out by measuring both, and said before the first step."""

import time

import pytest
import torch

from lossarium.cli.main import main
from lossarium.models.prediction import predict
from lossarium.models.registry import all_options, initial_model
from lossarium.training.configuration import Recipe
from lossarium.trial import precision
from lossarium.trial.precision import PassTimes, pass_times, warn_of_slow_bf16
from tests.bounds import rounding_error
from tests.cli.folders import pair
from tests.cli.test_train import timeless

CPU = torch.device("cpu")
BF16 = Recipe(size=32, precision="bf16", model_options=all_options("compact", {}))
WITH, WITHOUT = "flags\t\t: sse2 avx2 avx512_bf16\n", "flags\t\t: sse2 avx2 avx512f\n"


def told(monkeypatch, tmp_path, times, flags=WITHOUT, recipe=BF16, device=CPU):
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(precision, "_CPU_FLAGS", tmp_path / "cpuinfo")
    monkeypatch.setattr(precision, "pass_times", lambda *_: times)
    sentences = []
    warn_of_slow_bf16(recipe, device, sentences.append)
    return sentences


def test_both_times_the_reason_and_the_remedy_are_reported(monkeypatch, tmp_path):
    assert told(monkeypatch, tmp_path, PassTimes(8, 8.1, 0.9)) == [
        "bf16 takes 8.1 s a step here, float32 900 ms: this processor has no bfloat16 instructions; "
        "leave out --precision bf16"
    ]
    assert told(monkeypatch, tmp_path, PassTimes(2, 8.1, 2.0), WITH) == [
        "bf16 takes 8.1 s a step here with a batch of 2, float32 2.0 s: leave out --precision bf16"
    ]
    (sentence,) = told(monkeypatch, tmp_path, PassTimes(1, 9.0, 3.0, broken_off=True))
    assert sentence.startswith(
        "bf16 takes more than 9.0 s a step here with a batch of 1, float32 3.0 s: this"
    )


def test_nothing_is_reported_if_bf16_is_as_fast_or_not_chosen_or_on_a_gpu(monkeypatch, tmp_path):
    slow = PassTimes(8, 8.1, 0.9)
    assert not told(monkeypatch, tmp_path, PassTimes(8, 0.5, 0.9))
    assert not told(monkeypatch, tmp_path, PassTimes(8, 0.95, 0.9))
    assert not told(monkeypatch, tmp_path, slow, recipe=Recipe())
    assert not told(monkeypatch, tmp_path, slow, device=torch.device("cuda"))


class Clock:
    """Seconds pass only while the model computes: so many a picture of each identity in each precision."""

    def __init__(self, monkeypatch, **seconds):
        self.now, self.calls = 0.0, []
        monkeypatch.setattr(precision, "_pass", self.passed)
        self.seconds = seconds

    def __call__(self):
        return self.now

    def passed(self, _model, pictures, kind):
        self.calls.append((kind, pictures.shape[1]))
        self.now += self.seconds[kind] * pictures.shape[1]


def near(seconds):
    """A difference of two times of the clock, below 10 seconds, which has added up some 32 passes."""
    return pytest.approx(seconds, rel=0, abs=10 * rounding_error(2 * 32, torch.float64))


def test_the_whole_batch_is_measured_where_that_is_quick(monkeypatch):
    clock = Clock(monkeypatch, float32=0.01, bf16=0.03)
    assert pass_times(BF16, clock=clock) == PassTimes(8, near(0.24), near(0.08))
    assert clock.calls[:2] == [("float32", 1), ("bf16", 1)]
    assert all(batch == 8 for _, batch in clock.calls[2:])


def test_a_smaller_batch_where_the_whole_one_takes_too_long(monkeypatch):
    clock = Clock(monkeypatch, float32=0.2, bf16=0.5)
    assert pass_times(BF16, clock=clock) == PassTimes(2, near(1.0), near(0.4))
    assert clock.now < 5
    clock = Clock(monkeypatch, float32=3.0, bf16=5.0)
    assert pass_times(BF16, clock=clock) == PassTimes(1, near(5.0), near(3.0))
    assert len(clock.calls) == 2


def layer_calls():
    """The number of layers that a forward pass calls."""
    model = initial_model("compact", size=32, identities=2, seed=0)
    calls = []
    for layer in model.modules():
        layer.register_forward_hook(lambda *_: calls.append(1))
    predict(model, torch.rand(2, 1, 3, 32, 32), range(2))
    return len(calls)


@pytest.mark.parametrize("in_forward", [True, False])
def test_a_pass_in_bf16_that_is_far_too_slow_is_aborted_between_layers(monkeypatch, in_forward):
    """By a clock whose seconds pass from layer to layer: two in the forward pass, or soon after it."""
    ticks = 2 / (layer_calls() + (-3.5 if in_forward else 1.5))
    now, in_bf16, backward = 0.0, False, []
    right, right_backward = precision._pass, torch.autograd.backward

    def passed(model, pictures, kind):
        nonlocal in_bf16
        in_bf16 = kind == "bf16"
        right(model, pictures, kind)

    def clock():
        nonlocal now
        now += ticks * in_bf16
        return now

    monkeypatch.setattr(precision, "_pass", passed)
    monkeypatch.setattr(
        torch.autograd, "backward", lambda total: (backward.append(in_bf16), right_backward(total))
    )
    times = pass_times(BF16, clock=clock)
    assert times == PassTimes(1, 2.0, 0.0, broken_off=True)
    assert backward == ([False] if in_forward else [False, True])
    assert 2 < now < 4


def test_measuring_leaves_the_random_state_alone():
    before, began = torch.get_rng_state(), time.perf_counter()
    times = pass_times(BF16)
    passed = time.perf_counter() - began
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 < times.float32 < passed
    assert 0 < times.bf16 < passed


def test_a_trial_says_it_before_its_first_step_and_its_numbers_do_not_change(tmp_path, capsys, monkeypatch):
    command = ["train", *map(str, pair(tmp_path)), "--size", "32", "--steps", "2", "--batch-size", "4"]
    command += ["--precision", "bf16", "--preview-every", "0", "--loss", "mse"]
    measured = precision.pass_times
    counted = []

    def slow(*given):
        times = measured(*given)
        counted.append(times)
        return PassTimes(times.batch, 3 * times.float32, times.float32)

    monkeypatch.setattr(precision, "pass_times", slow)
    assert main([*command, "--out", str(tmp_path / "measured")]) == 0
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert len(counted) == 1
    assert any("bf16 takes" in line and "leave out --precision bf16" in line for line in lines)
    monkeypatch.setattr(precision, "pass_times", lambda *_: PassTimes(1, 1.0, 1.0))
    assert main([*command, "--out", str(tmp_path / "not measured")]) == 0
    assert "bf16 takes" not in "".join(capsys.readouterr())
    assert timeless(tmp_path / "measured") == timeless(tmp_path / "not measured")
