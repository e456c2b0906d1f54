"""Losses written as text."""

import doctest
from dataclasses import replace

import pytest
import torch

import lossarium.losses
from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses import module, perceptual, pixel, registry, spec, structure
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
    ],
)
def test_reads_and_writes_canonically(text, canonical):
    assert str(spec.parse(text)) == canonical
    assert str(spec.parse(canonical)) == canonical


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
    assert message.endswith(f"at character {place}")
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
    assert torch.allclose(terms, torch.stack(expected))
    assert torch.allclose(loss(input, target), terms.sum())


def test_a_measure_that_cannot_be_minimised_is_refused(monkeypatch):
    bias = replace(registry.info("mae"), name="mbe", not_minimised="its least value is no equality")
    monkeypatch.setattr(registry, "_LOSSES", (*registry._LOSSES, bias))
    with pytest.raises(LossariumError, match="cannot be minimised"):
        spec.parse("mse + mbe")


@pytest.mark.parametrize("source", [lossarium.losses, module, perceptual, pixel, registry, spec, structure])
def test_the_docstrings_examples_run(source):
    tried = doctest.testmod(source)
    assert tried.failed == 0
    assert tried.attempted > 0
