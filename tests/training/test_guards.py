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
    """The step after which a trial goes back, or None, and what is remembered."""
    history = history or LossHistory()
    for step, loss in enumerate(losses):
        terms = {"mse": 0.2 * loss, "ssim": 0.8 * loss}
        history = update_history(history, GUARDS, loss, terms, finite=math.isfinite(loss))
        if exploded(history, GUARDS):
            return step, history
    return None, history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", ["normal", "heavy tails", "none"])
def test_ordinary_courses_pass(seed, noise):
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


def test_the_term_that_went_first_is_named():
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


def test_it_is_kept_as_json_and_back():
    history = course([0.1, 0.2, math.nan])[1]
    assert remembered(json.loads(json.dumps(history.as_table()))) == history
    assert remembered({}) == LossHistory()
    assert after_rollback(history).rollbacks == 1
    assert after_rollback(history).suspicious == 0
