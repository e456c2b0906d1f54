"""Gradient clipping."""

import doctest
import json
import math
import random

import numpy as np
import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.training.options import clipping
from lossarium.training.options.clipping import Clipping, clip, norm_history, parse
from lossarium.training.options.syntax import call_text, read_call
from tests.bounds import rounding_error, summation_error


def parameters(scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 3, 3, 3), ())]
    for parameter in made[:-1]:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    # The last one has no gradient.
    return made


# A norm is the root of a sum of squares: of the sum's relative error a half is left, and rounded.
NORM_ERROR = summation_error(3 * 4 + 5 + 2 * 3 * 3 * 3, torch.float32) / 2 + rounding_error(2, torch.float32)


def flat(made):
    return torch.cat([p.grad.flatten() for p in made if p.grad is not None])


def test_norm_equals_torchs():
    ours, theirs = parameters(), parameters()
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    found = clip(ours, Clipping("norm", 0.5), norm_history())
    norm = pytest.approx(expected.item(), rel=2 * NORM_ERROR)
    assert found == clipping.GradientNorm(norm, finite=True, clipped=True)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=3 * NORM_ERROR, atol=0)
    assert flat(ours).norm().item() == pytest.approx(0.5, rel=3 * NORM_ERROR)


def test_value_equals_torchs():
    ours, theirs = parameters(), parameters()
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    found = clip(ours, Clipping("value", 0.3), norm_history())
    assert found.norm == pytest.approx(flat(parameters()).norm().item(), rel=2 * NORM_ERROR)
    assert torch.equal(flat(ours), flat(theirs))
    assert (found.finite, found.clipped) == (True, True)


@pytest.mark.parametrize("kind", [Clipping(), Clipping("norm", 1e3), Clipping("autoclip", percentile=100)])
def test_gradients_within_the_limit_keep_every_bit(kind):
    made = parameters()
    found = clip(made, kind, norm_history())
    assert torch.equal(flat(made), flat(parameters()))
    assert (found.finite, found.clipped) == (True, False)


@pytest.mark.parametrize("kind", ["none", "value", "norm", "autoclip"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite_are_reported_and_left_as_they_are(kind, bad):
    made = parameters()
    made[2].grad[0, 1, 2, 0] = bad
    before, weights = flat(made).clone(), [p.clone() for p in made]
    history = norm_history([1.0, 2.0])
    found = clip(made, Clipping(kind, 0.1), history)
    assert not found.finite
    assert not found.clipped
    assert torch.equal(flat(made).nan_to_num(), before.nan_to_num())
    assert list(history) == [1.0, 2.0]
    assert all(torch.equal(p, weight) for p, weight in zip(made, weights, strict=True))


def test_a_norm_whose_square_overflows_is_still_clipped():
    made = parameters(scale=1e30)
    found = clip(made, Clipping("norm", 1.0), norm_history())
    assert found.finite
    assert found.norm == pytest.approx(1e30 * flat(parameters()).double().norm().item(), rel=2 * NORM_ERROR)
    assert flat(made).norm().item() == pytest.approx(1.0, rel=3 * NORM_ERROR)


def test_autoclip_clips_to_the_percentile_of_all_norms_so_far():
    history, norms = norm_history(), []
    for step in range(30):
        made = parameters(scale=1 + math.sin(step) ** 2, seed=step)
        norm = flat(made).norm().item()
        norms.append(norm)
        found = clip(made, Clipping("autoclip", percentile=25.0), history)
        assert found.norm == pytest.approx(norm, rel=2 * NORM_ERROR)
        limit = float(np.percentile(norms, 25.0))
        assert flat(made).norm().item() == pytest.approx(min(norm, limit), rel=3 * NORM_ERROR)
        # Through a checkpoint and on, to the last bit.
        history = norm_history(json.loads(json.dumps(list(history))))
    assert len(history) == 30


def test_autoclips_history_is_bounded_and_knows_no_zeros():
    history = norm_history(range(1, 20_000))
    assert (len(history), history[0]) == (clipping.HISTORY_LENGTH, 10_000)
    history = norm_history()
    for scale in (0.0, 0.0, 1.0):
        made = parameters(scale=scale)
        clip(made, Clipping("autoclip"), history)
    assert len(history) == 1
    assert flat(made).norm() > 0


def test_no_gradient_at_all():
    found = clip([torch.nn.Parameter(torch.zeros(2))], Clipping("norm"), norm_history())
    assert found == clipping.GradientNorm(0.0, finite=True, clipped=False)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("none", "none"),
        ("norm", "norm(1)"),
        ("norm(1.0)", "norm(1)"),
        ("norm(limit=2)", "norm(2)"),
        ("value(.5)", "value(0.5)"),
        ("autoclip", "autoclip(percentile=10)"),
        ("autoclip(5)", "autoclip(percentile=5)"),
    ],
)
def test_reads_and_writes_canonically(text, canonical):
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("norn(1)", "did you mean norm"),
        ("norm(0)", "above 0"),
        ("norm(-1)", "above 0"),
        ("norm(inf)", "above 0"),
        ("norm(1, limit=2)", "given twice"),
        ("norm(1, 2)", "given twice"),
        ("norm(big)", "a number"),
        ("norm(percentile=3)", 'no option "percentile"'),
        ("none(1)", "no value"),
        ("autoclip(101)", "from 0 to 100"),
        ("autoclip(nan)", "a number"),
        ("norm(1)(2)", "option=value"),
    ],
)
def test_says_what_is_wrong(text, said):
    with pytest.raises(LossariumError, match=said):
        parse(text)


def test_a_text_reads_back_to_the_same_values():
    source = random.Random(0)
    for _ in range(200):
        options = {
            "a": source.choice([True, False]),
            "b": source.randint(-(10**9), 10**9),
            "c": source.uniform(-1, 1) * 10.0 ** source.randint(-30, 30),
            "d": "word",
            "e": tuple(source.uniform(0, 1) for _ in range(source.randint(0, 3))),
            "f": -math.inf,
        }
        assert read_call(call_text("name", options), "call").values(options) == options


@pytest.mark.parametrize(
    "piece", ["(", ")", "[", "]", "=", ",", "name", "1", "1e999", "'", "\\", "\0", "é", "__"]
)
def test_any_text_is_read_or_refused(piece):
    for text in (piece, f"n({piece})", f"n(a={piece})", f"n(a=[{piece}])", f"n({piece * 300})"):
        try:
            read = read_call(text, "call")
        except LossariumError:
            continue
        assert read_call(call_text(read.name, read.options), "call").options == read.options


def test_examples_in_docstrings():
    assert doctest.testmod(clipping).attempted > 0
    assert doctest.testmod(clipping).failed == 0


def test_autoclip_alone_remembers_norms():
    for kind, remembered in (("none", 0), ("value", 0), ("norm", 0), ("autoclip", 1)):
        history = norm_history()
        # A norm below 1, as of a loss that has nearly been learned.
        clip(parameters(scale=1e-3), Clipping(kind), history)
        assert len(history) == remembered
    # No other clipping depends on earlier norms.
    made = parameters()
    assert not clip(made, Clipping(), norm_history([1e-6] * 10)).clipped
    assert torch.equal(flat(made), flat(parameters()))


def test_defaults_and_ends_of_ranges():
    assert [parse(text) for text in ("none", "norm", "value", "autoclip")] == [
        Clipping("none"), Clipping("norm", 1.0), Clipping("value", 1.0), Clipping("autoclip", percentile=10.0)
    ]  # fmt: skip
    assert [parse(f"autoclip({end})").percentile for end in (0, 100)] == [0, 100]
