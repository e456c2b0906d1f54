"""Models with dropout and batch normalisation: trained, evaluated, killed and resumed exactly."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from lossarium.facesets.batches.batch import Batches
from lossarium.judging.held_out import decode, directions, score
from lossarium.models.randomness import evaluating, seeded, training_seed
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training import records
from lossarium.training.callbacks import Callbacks
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.loop import train
from lossarium.training.rate_finder import find_rates
from lossarium.training.span import Span
from lossarium.trial.run import make_evaluator
from tests.bounds import rounding_error
from tests.facesets.examples import blobs
from tests.models import own_models

PAIR = (blobs("ada", states=True), blobs("ben", seed=5, states=True))
HELD_OUT = directions(*PAIR)
WITH_DROPOUT = f"{own_models.__name__}:WithDropout"
RECIPE = Recipe(steps=8, size=32, batch_size=2, snapshots=3, accumulation=2, model=WITH_DROPOUT)
TRIAL = Trial("mse", 0, RECIPE)


class StoppedError(Exception):
    """Stands for a process that dies."""


def run(folder, trial=TRIAL, *, die_after=None, model_seen=None):
    folder.mkdir(exist_ok=True)

    def on_step(model, step):
        if model_seen is not None:
            model_seen.append(model)
        if step == die_after:
            raise StoppedError

    callbacks = Callbacks(on_step=on_step)
    train(trial, PAIR, folder, make_evaluator(trial, HELD_OUT, folder), callbacks)


def rows_of(folder):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in records.read(folder)]


def losses_of(folder):
    return [row["loss"] for row in records.read(folder) if "loss" in row]


@pytest.mark.parametrize("model", ["WithDropout", "SamplesAlways"])
@pytest.mark.parametrize("die_after", [1, 5])
def test_a_killed_trial_with_dropout_and_batch_norm_goes_on_exactly(tmp_path, die_after, model):
    trial = replace(TRIAL, recipe=replace(RECIPE, model=f"{own_models.__name__}:{model}"))
    torch.manual_seed(1)
    run(tmp_path / "whole", trial)
    torch.manual_seed(2)
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", trial, die_after=die_after)
    torch.manual_seed(3)
    run(tmp_path / "broken", trial)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize("die_after", [2, 4, 7])
def test_a_killed_trial_that_judges_a_sample_goes_on_exactly(tmp_path, die_after):
    steered = replace(RECIPE, judged_frames=4, judge_every=1, schedule="plateau(factor=0.5, patience=0)")
    trial = replace(TRIAL, recipe=steered)
    run(tmp_path / "whole", trial)
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", trial, die_after=die_after)
    run(tmp_path / "broken", trial)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "whole")
    evaluations = [row for row in rows_of(tmp_path / "whole") if "held_out" in row]
    assert [row["judged"] for row in evaluations] == ["sample"] * 5 + ["all"] * 3


def test_what_steers_a_trial_does_not_depend_on_whether_all_frames_are_judged(tmp_path):
    """A longer trial judges a sample where a shorter one judges all, and takes the same steps."""
    steered = replace(RECIPE, judged_frames=4, judge_every=1, schedule="plateau(factor=0.5, patience=0)")
    run(tmp_path / "short", replace(TRIAL, recipe=replace(steered, steps=6)))
    run(tmp_path / "long", replace(TRIAL, recipe=steered))
    short, long = (rows_of(tmp_path / name) for name in ("short", "long"))
    steps = [row for row in short if "held_out" not in row][:-1]
    assert steps == [row for row in long if "held_out" not in row][: len(steps)]
    assert [records.sampled_scores(row) for row in short if "held_out" in row] == [
        records.sampled_scores(row) for row in long if "held_out" in row
    ][:6]


def test_dropout_differs_between_seeds_steps_and_parts():
    seeds = {
        training_seed(seed, step, part) for seed in range(3) for step in range(1, 5) for part in range(3)
    }
    assert len(seeds) == 3 * 4 * 3

    model = initial_model(WITH_DROPOUT, size=32, identities=2, seed=0)
    pictures = torch.rand(2, 1, 3, 32, 32)

    def drop(step, part):
        with seeded(torch.device("cpu"), training_seed(0, step, part)):
            return model(pictures, (0, 1))

    assert torch.equal(drop(1, 0), drop(1, 0))
    assert not torch.equal(drop(1, 0), drop(2, 0))
    assert not torch.equal(drop(1, 0), drop(1, 1))


def test_training_drops_out_and_judging_does_not(tmp_path):
    models = []
    run(tmp_path, model_seen=models)
    # For the sheet and for the scores: two directions, each reconstructed and swapped.
    snapshots, calls = len(RECIPE.snapshot_steps()), models[0].calls
    assert calls.count(True) == RECIPE.steps * RECIPE.accumulation
    # The first call tried the model when it was made.
    assert calls.count(False) == 1 + snapshots * 8
    assert all(module.training for module in models[0].modules())


def test_scores_are_those_of_the_evaluation_mode(tmp_path):
    models = []
    run(tmp_path, model_seen=models)
    last = [row["held_out"] for row in records.read(tmp_path) if "held_out" in row][-1]
    assert score(models[0].eval(), HELD_OUT) == last


def test_judging_changes_neither_the_model_nor_any_random_state():
    model = initial_model(WITH_DROPOUT, size=32, identities=2, seed=0)
    model.norm.eval()
    before, state = weights_digest(model), torch.get_rng_state()
    first = score(model, HELD_OUT)
    assert (model.training, model.dropout.training, model.norm.training) == (True, True, False)
    assert weights_digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert score(model, HELD_OUT) == first


def test_a_model_that_draws_noise_in_evaluation_mode_is_judged_with_the_same_noise():
    model = initial_model(f"{own_models.__name__}:SamplesAlways", size=32, identities=2, seed=0)
    frames = HELD_OUT[0].frames[:3]
    torch.manual_seed(5)
    first = decode(model, frames, 0)
    assert torch.equal(decode(model, frames, 0), first)
    with evaluating(model):
        assert not torch.equal(model(frames[None], (0,)), model(frames[None], (0,)))


def test_random_state_goes_on_after_a_failure_inside():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with suppress(StoppedError), seeded(torch.device("cpu"), 0):
        torch.rand(10)
        raise StoppedError
    assert torch.equal(torch.rand(3), expected)


def test_running_statistics_do_not_keep_a_step_that_was_passed_over(tmp_path, monkeypatch):
    right = Batches.__call__

    def with_nan(self, number):
        batch = right(self, number)
        # The scores of the fifth step.
        if number == 9:
            batch.input[0, 0, 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(Batches, "__call__", with_nan)
    models = []
    run(tmp_path, model_seen=models)
    assert [row["step"] for row in records.read(tmp_path) if "passed_over" in row] == [5]
    assert models[0].norm.running_mean.isfinite().all()
    # A skipped step changes no statistics, in none of its parts.
    assert models[0].norm.num_batches_tracked == (RECIPE.steps - 1) * RECIPE.accumulation


def test_range_tests_with_dropout_repeat_and_leave_no_trace():
    model = initial_model(WITH_DROPOUT, size=32, identities=2, seed=0)
    before = weights_digest(model)
    torch.manual_seed(1)
    first = find_rates(model, ("mse",), 0, RECIPE, PAIR, Span(1e-5, 1e-2, 10))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert find_rates(model, ("mse",), 0, RECIPE, PAIR, Span(1e-5, 1e-2, 10)) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_digest(model) == before


def test_the_first_step_of_a_range_test_drops_out_what_a_trial_does(tmp_path):
    model = initial_model(WITH_DROPOUT, size=32, identities=2, seed=0)
    found = find_rates(model, ("mse",), 0, RECIPE, PAIR, Span(1e-5, 1e-2, 10))
    run(tmp_path)
    # The same operations but for the halves' sum, which is rounded or not.
    allowed = rounding_error(4, torch.float32)
    assert found[0].test.losses[0] == pytest.approx(losses_of(tmp_path)[0], rel=allowed)
