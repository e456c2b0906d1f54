"""Guards: they detect explosions, name the term that exploded first, and tolerate ordinary noise."""

import json
import math

import numpy as np
import pytest

from lossarium.training.guards import (
    Guards,
    LossHistory,
    after_rollback,
    exploded,
    remembered,
    update_history,
)

GUARDS = Guards()


def course(losses, history=None):
    """The step after which a trial is rolled back, or None, and the history."""
    history = history or LossHistory()
    for step, loss in enumerate(losses):
        terms = {"mse": 0.2 * loss, "ssim": 0.8 * loss}
        history = update_history(history, GUARDS, loss, terms, finite=math.isfinite(loss))
        if exploded(history, GUARDS):
            return step, history
    return None, history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", ["normal", "heavy tails", "none"])
def test_ordinary_losses_cause_no_rollback(seed, noise):
    random = np.random.default_rng(seed)
    steps = np.arange(3000)
    factor = {
        "normal": np.exp(0.3 * random.standard_normal(3000)),
        "heavy tails": 1 + 0.3 * np.abs(random.standard_t(2, 3000)),
        "none": np.ones(3000),
    }[noise]
    assert course((0.5 * np.exp(-steps / 700) + 0.02) * factor)[0] is None


def test_a_single_spike_passes_and_an_explosion_does_not():
    quiet = (0.1 + 0.01 * np.random.default_rng(0).standard_normal(300)).tolist()
    assert course([*quiet, 50.0, *quiet])[0] is None
    step, _ = course([*quiet, *(0.5 * 3**k for k in range(20))])
    assert 300 + GUARDS.patience - 1 <= step <= 300 + GUARDS.patience + 2


def test_infinities_in_a_row_are_an_explosion_from_the_first_step_on():
    assert course([math.inf] * 5)[0] == GUARDS.patience - 1
    assert course([math.nan, 1.0] * 20)[0] is None


def test_the_term_that_exploded_first_is_named():
    history = course([0.1] * 100)[1]
    far = update_history(history, GUARDS, 9.0, {"mse": 8.92, "ssim": 0.08}, finite=True)
    assert far.first_term == "mse"
    later = update_history(far, GUARDS, 9.0, {"mse": 0.02, "ssim": 8.98}, finite=True)
    assert later.first_term == "mse"
    assert (
        update_history(history, GUARDS, math.nan, {"mse": 0.02, "ssim": math.nan}, finite=False).first_term
        == "ssim"
    )
    assert (
        update_history(LossHistory(), GUARDS, math.inf, {"mse": 1.0, "ssim": 1.0}, finite=False).first_term
        == "mse"
    )


def test_history_survives_json():
    history = course([0.1, 0.2, math.nan])[1]
    assert remembered(json.loads(json.dumps(history.as_table()))) == history
    assert remembered({}) == LossHistory()
    assert after_rollback(history).rollbacks == 1
    assert after_rollback(history).suspicious == 0


def is_suspicious(history, loss):
    """Whether a finite loss after this history counts as suspicious."""
    remembered = LossHistory(losses=tuple(history))
    return update_history(remembered, GUARDS, loss, {"mse": loss}, finite=True).suspicious == 1


def test_suspicious_is_what_is_both_far_above_the_median_and_many_deviations_above_it():
    # The median is 1 and half of all losses are 0.1 away from it, so that a standard deviation is 0.14826.
    noisy = [0.9, 1.1] * 50
    bound = 1 + GUARDS.z_score * 0.14826
    assert not is_suspicious(noisy, bound - 0.01)
    assert is_suspicious(noisy, bound + 0.01)
    # With hardly any noise, three times the median is many deviations.
    quiet = [0.999, 1.001] * 50
    assert not is_suspicious(quiet, GUARDS.factor - 0.01)
    assert is_suspicious(quiet, GUARDS.factor + 0.01)


def test_nothing_is_suspicious_before_there_are_fifty_losses():
    assert not is_suspicious([1.0] * 49, 1e6)
    assert is_suspicious([1.0] * 50, 1e6)


def test_the_last_two_hundred_losses_are_remembered_and_no_suspicious_one():
    losses = [1 + step / 1000 for step in range(250)]
    history = course([*losses, 100.0])[1]
    assert history.losses == tuple(losses[-200:])
    assert history.terms["ssim"] == tuple(0.8 * loss for loss in losses[-200:])
    assert history.suspicious == 1
    # The next ordinary loss ends the row and replaces the oldest.
    after = course([1.25], history)[1]
    assert (after.suspicious, after.first_term) == (0, None)
    assert after.losses == (*losses[-199:], 1.25)
