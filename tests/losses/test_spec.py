"""Losses written as text."""

import doctest
import random
from dataclasses import replace

import pytest
import torch

import lossarium.losses
from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses import built_in, card, module, registry, spec
from lossarium.losses.card import with_all_options
from lossarium.losses.perceptual import lpips
from lossarium.losses.pixel import norms
from lossarium.losses.structure import ssim
from tests.losses.pictures import random_pair


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mse", "mse"),
        (" 0.84*ssim+.16 * mae ", "0.84*ssim + 0.16*mae"),
        ("1*mae", "mae"),
        ("1e-1*mae + 2.*mse", "0.1*mae + 2*mse"),
        ("smooth_l1(beta=0.10)", "smooth_l1(beta=0.1)"),
        ("smooth_l1()", "smooth_l1"),
        ("ssim(window=7,sigma=2)", "ssim(sigma=2, window=7)"),
        ("lpips(net=alex)", "lpips(net=alex)"),
        ("general(alpha=-inf)", "general(alpha=-inf)"),
        ("general(alpha=INF, c=0.10)", "general(alpha=inf, c=0.1)"),
        ("general(alpha=-2)", "general(alpha=-2)"),
        ("0.123456789*mse", "0.123456789*mse"),
        ("1234567*mse + 1e22*mae", "1234567*mse + 1e+22*mae"),
        ("smooth_l1(beta=1e-5)", "smooth_l1(beta=1e-05)"),
    ],
)
def test_reads_and_writes_canonically(text, canonical):
    assert str(spec.parse(text)) == canonical
    assert str(spec.parse(canonical)) == canonical
    assert spec.parse(canonical) == spec.parse(text)


def test_every_number_reads_back_as_it_was():
    source = random.Random(0)
    for _ in range(500):
        factor, alpha, c = (source.uniform(1, 10) * 10 ** source.randint(-300, 300) for _ in range(3))
        sign = source.choice((-1, 1))
        term = spec.Term("general", factor, (("alpha", sign * alpha), ("c", c)))
        assert spec.parse(str(term)).terms == (term,)


@pytest.mark.parametrize("name", registry.names())
def test_the_defaults_of_every_loss_can_be_typed(name):
    (term,) = spec.parse(str(with_all_options(registry.info(name))), measures=True).terms
    assert dict(term.options) == registry.info(name).options


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("msee", 1, "did you mean mse"),
        ("ssim + 0.5**mae", 12, "the name of a loss is expected"),
        ("-0.5*mae", 1, "negative weight"),
        ("ssim + -1*mae", 8, "negative weight"),
        ("ssim - mae", 6, "negative weight"),
        ("0*mae", 1, "positive"),
        ("1e999*mae", 1, "finite"),
        ("ssim +", 7, "it ends"),
        ("", 1, "it ends"),
        ("0.5 mae", 5, '"*" after the weight'),
        ("smooth_l1(beta=)", 16, "a value for beta"),
        ("smooth_l1(gamma=1)", 11, "no option"),
        ("smooth_l1(beta=1", 17, "it ends"),
        ("smooth_l1(beta=1, beta=2)", 19, "twice"),
        ("ssim(window=1.5)", 13, "whole number"),
        ("lpips(net=3)", 11, "a word"),
        ("lpips(net=-alex)", 12, "a value for net"),
        ("lpips(net=alexnet)", 11, "net is one of alex, vgg, squeeze, not alexnet"),
        ("ssim + gmsd(color=grey)", 19, "color is one of rgb, gray, not grey"),
        ("ssim(window=inf)", 13, "whole number"),
        ("general(alpha=-)", 16, "a value for alpha"),
        ("general(alpha=infinite)", 15, "a number"),
        ("inf*mae", 1, 'no loss "inf"'),
        ("mse(beta=1)", 5, "no option"),
        ("mae)", 4, "the end"),
        ("mae $", 5, "no meaning"),
        ("mse; rm", 4, "no meaning"),
    ],
)
def test_points_at_what_is_wrong(text, place, reason):
    with pytest.raises(LossariumError) as caught:
        spec.parse(text)
    message, shown, pointer = str(caught.value).split("\n")
    assert reason in message
    assert f" at character {place}: " in message
    assert shown[4:] == text
    assert pointer.index("^") == 4 + place - 1


def test_a_very_long_spec_is_refused():
    with pytest.raises(LossariumError, match="at most"):
        spec.parse("mse + " * 400 + "mse")


def test_splits_at_commas_outside_parentheses():
    assert spec.split("mse,smooth_l1(beta=0.1, beta=2), ssim + mae") == [
        "mse",
        "smooth_l1(beta=0.1, beta=2)",
        "ssim + mae",
    ]


def test_a_sum_is_the_sum_of_its_terms():
    input, target = random_pair()
    loss = losses.get("0.84*ssim + 0.16*smooth_l1(beta=0.2)")
    terms = loss.terms(input, target)
    expected = [0.84 * losses.ssim(input, target), 0.16 * losses.smooth_l1(input, target, beta=0.2)]
    assert torch.equal(terms, torch.stack(expected))
    assert torch.equal(loss(input, target), terms.sum())


def test_a_measure_that_cannot_be_minimised_is_refused(monkeypatch):
    bias = replace(registry.info("mae"), name="mbe", not_minimised="its least value is no equality")
    monkeypatch.setattr(built_in, "LOSSES", (registry.info("mse"), bias))
    with pytest.raises(LossariumError, match="cannot be minimised, since its least value is no equality\n"):
        spec.parse("mse + mbe")
    assert str(spec.parse("mse + 2*mbe", measures=True)) == "mse + 2*mbe"


@pytest.mark.parametrize("source", [lossarium.losses, card, module, lpips, norms, registry, spec, ssim])
def test_the_docstrings_examples_run(source):
    tried = doctest.testmod(source)
    assert tried.failed == 0
    assert tried.attempted > 0
