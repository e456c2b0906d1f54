"""The initial weights of models."""

import math

import pytest
import torch
from torch import nn

from lossarium.models.blocks import Residual, Upscale
from lossarium.models.compact import Compact
from lossarium.models.registry import initial_model, weights_digest
from tests.bounds import rounding_error
from tests.models.small import SMALL, small


def _variance(layer, of_residual):
    if isinstance(layer, nn.Linear):
        return 2 / (layer.in_features + layer.out_features)
    return (0.2 if of_residual else 2) / (layer.in_channels * layer.kernel_size[0] ** 2)


@pytest.mark.parametrize("which", SMALL)
def test_initial_weights_are_a_function_of_the_seed(which):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights_digest(small(which))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert weights_digest(small(which)) == first
    assert weights_digest(small(which, seed=1)) != first


def test_initial_weights_stay_as_they_are_in_every_release():
    # From this code on the day it was written: it pins the streams, a change of them is a break.
    assert weights_digest(small("df"))[:16] == "8a80fd8b4b90c813"


def test_the_compact_model_begins_with_torchs_own_stream():
    torch.manual_seed(3)
    by_hand = Compact(32)
    assert weights_digest(initial_model("compact", size=32, identities=2, seed=3)) == weights_digest(by_hand)


@pytest.mark.parametrize("which", SMALL)
def test_a_mask_or_one_more_identity_does_not_change_the_other_weights(which):
    plain = small(which).state_dict()
    larger = small(which, identities=3, learn_mask=True).state_dict()
    assert len(larger) > len(plain)
    assert all(torch.equal(larger[name], weight) for name, weight in plain.items())


@pytest.mark.parametrize("which", SMALL)
def test_no_two_layers_have_equal_initial_weights(which):
    weights = [w for w in small(which).parameters() if w.ndim > 1]
    assert len({tuple(w.flatten()[:4].tolist()) for w in weights}) == len(weights)


@pytest.mark.parametrize("which", SMALL)
def test_weights_have_the_promised_spread_and_biases_are_zero(which):
    model = small(which, icnr=False)
    second = {block.second for block in model.modules() if isinstance(block, Residual)}
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = math.sqrt(3 * _variance(layer, layer in second))
            assert layer.weight.abs().max() <= bound * (1 + rounding_error(4, torch.float32))
            # Of n uniform numbers in [-1, 1] none is above 1 - x once in exp(n x) times. Their squares' mean
            # is 1/3 with a deviation of sqrt(4 / 45 / n); no mean is six deviations off.
            count = layer.weight.numel()
            assert layer.weight.abs().max() > bound * (1 - 16 / count)
            six = 6 * 3 * math.sqrt(4 / 45 / count)
            assert layer.weight.square().mean().item() == pytest.approx(bound**2 / 3, rel=six)
            assert not layer.bias.any()


@pytest.mark.parametrize("which", [*SMALL, "compact"])
@pytest.mark.parametrize("icnr", [True, False])
def test_with_icnr_the_four_pixels_of_a_shuffle_begin_equal(which, icnr):
    if which == "compact":
        model = initial_model("compact", size=32, identities=2, seed=0, options={"icnr": icnr})
        parts = [list(part) for part in (model.encoder, *model.decoders)]
        before_shuffles = [
            part[i - 2]
            for part in parts
            for i, layer in enumerate(part)
            if isinstance(layer, nn.PixelShuffle)
        ]
    else:
        before_shuffles = [part[0] for part in small(which, icnr=icnr).modules() if isinstance(part, Upscale)]
    assert len(before_shuffles) >= 5
    for convolution in before_shuffles:
        groups = convolution.weight.unflatten(0, (-1, 4))
        assert torch.equal(groups, groups[:, :1].expand_as(groups)) is icnr


@pytest.mark.parametrize("which", SMALL)
def test_weights_of_convolutions_are_laid_out_channels_last(which):
    convolutions = [layer for layer in small(which).modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions)


def test_the_digest_sees_names_shapes_kinds_and_values():
    layers = [
        nn.Linear(2, 3),
        nn.Linear(3, 2),
        nn.Linear(2, 3).bfloat16(),
        nn.LayerNorm(6),
        nn.BatchNorm1d(2),
    ]
    digests = [weights_digest(layer) for layer in layers]
    with torch.no_grad():
        layers[0].bias += 1
    assert len({*digests, weights_digest(layers[0])}) == len(layers) + 1
