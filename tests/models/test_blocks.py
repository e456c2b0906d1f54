"""Padding channels of zeros."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lossarium.models.blocks import Convolution, Residual, Upscale, in_lanes
from tests.bounds import summation_error


def pictures(channels, given):
    made = torch.rand(2, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    return F.pad(made, (0, 0, 0, 0, 0, given - channels)), made


@pytest.mark.parametrize(("channels", "lanes"), [(1, 16), (16, 16), (126, 128), (252, 256)])
def test_channels_are_rounded_up_to_vector_registers(channels, lanes):
    assert in_lanes(channels) == lanes


@pytest.mark.parametrize("size", [3, 5])
def test_a_convolution_equals_torchs_except_for_zero_channels(size):
    ours, theirs = Convolution(5, 7, size, 16), nn.Conv2d(5, 7, size, padding=size // 2)
    ours.load_state_dict(theirs.state_dict())
    padded, plain = pictures(5, 16)
    found, expected = ours(padded), theirs(plain)
    assert found.shape == (2, 16, 6, 5)
    magnitudes = F.conv2d(plain.abs(), theirs.weight.abs(), theirs.bias.abs(), padding=size // 2)
    allowed = 2 * summation_error(5 * size**2 + 1, torch.float32) * magnitudes
    assert ((found[:, :7] - expected).abs() <= allowed).all()
    assert found[:, 7:].count_nonzero() == 0
    slopes = torch.rand(found.shape, generator=torch.Generator().manual_seed(1))
    found.backward(slopes)
    expected.backward(slopes[:, :7])
    # A weight's slope is a sum over all pixels, of products of numbers below 1.
    pixels = 2 * 6 * 5
    allowed = 2 * pixels * summation_error(pixels, torch.float32)
    for name, weight in theirs.named_parameters():
        assert (ours.get_parameter(name).grad - weight.grad).abs().max() <= allowed


def test_doubling_and_residuals_keep_them_0():
    padded, plain = pictures(5, 16)
    wide, narrow = Upscale(5, 6, given=16), Upscale(5, 6)
    narrow.load_state_dict(wide.state_dict())
    residual = Residual(6)
    doubled = residual(wide(padded))
    assert doubled.shape == (2, 16, 12, 10)
    assert doubled[:, 6:].count_nonzero() == 0
    features = narrow(plain)
    first, second = residual.first, residual.second
    inner = F.leaky_relu(F.conv2d(features, first.weight, first.bias, padding=1), 0.2)
    outer = F.conv2d(inner, second.weight, second.bias, padding=1) + features
    expected = F.leaky_relu(outer, 0.2)
    # Three convolutions of at most 6 channels of 3x3 pixels, each of which the next one's weights pass on.
    size = max(tensor.abs().max().item() for tensor in (plain, features, inner, outer))
    gain = max(layer.weight.abs().sum(dim=(1, 2, 3)).max().item() for layer in (wide[0], first, second))
    allowed = 2 * 3 * summation_error(6 * 9 + 1, torch.float32) * size * max(gain, 1.0) ** 3
    assert (doubled[:, :6] - expected).abs().max() <= allowed
