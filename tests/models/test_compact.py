"""The compact model."""

import copy

import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.models.compact import Compact
from lossarium.models.registry import initial_model, weights_digest
from tests.bounds import sensitivity, unit_roundoff


def test_has_as_many_parameters_as_its_docstring_states():
    count = sum(parameter.numel() for parameter in Compact(64).parameters())
    assert count == 1_580_070
    assert f"{count:,}" in str(Compact.__doc__)


@pytest.mark.parametrize("size", [32, 48, 128])
def test_gives_back_pictures_of_the_same_size_in_range(size):
    pictures = torch.rand(2, 3, 3, size, size)
    decoded = Compact(size)(pictures, (0, 1))
    assert decoded.shape == pictures.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_a_swap_goes_through_the_other_decoder():
    model = Compact(32)
    pictures = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        straight, swapped = model(pictures, (0, 1)), model(pictures, (1, 0))
        alone = model(pictures[:1], (1,))
        exact = copy.deepcopy(model).double()
        (expected,), (change,) = sensitivity(lambda x: (exact(x, (1,)),), pictures[:1].double())
    # Some three roundings in each of ten layers.
    allowed = 32 * (unit_roundoff(torch.float32) * expected + change.max())
    for found in (swapped[0], alone[0]):
        assert ((found - expected[0]).abs() <= allowed).all()
    assert not torch.allclose(swapped, straight, atol=1e-3)


def test_a_step_for_both_identities_trains_both_decoders_and_the_encoder():
    model = Compact(32)
    model(torch.rand(2, 2, 3, 32, 32), (0, 1)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [0, -16, 40])
def test_refuses_sizes_that_do_not_halve_four_times(size):
    with pytest.raises(LossariumError, match="multiples of 16"):
        Compact(size)


def test_initial_weights_are_a_function_of_the_seed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights_digest(initial_model("compact", size=32, identities=2, seed=0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert weights_digest(initial_model("compact", size=32, identities=2, seed=0)) == first
    assert weights_digest(initial_model("compact", size=32, identities=2, seed=1)) != first


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(LossariumError, match="choose from compact"):
        initial_model("big", size=64, identities=2, seed=0)
