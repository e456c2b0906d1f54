"""Losses as users write them, good and bad."""

import dataclasses
import random
from typing import Literal

import torch
from torch import nn

from lossarium import losses


def power(input, target, *, k: float = 2.0):
    """Errors to the power of k."""
    return (input - target).abs() ** k


def root_by_picture(input, target):
    return ((input - target).square().mean(dim=(1, 2, 3)) + 1e-12).sqrt()


def scalar(input, target):
    return (input - target).square().mean()


def of_its_own(input, target, *, weight=None, reduction="mean"):
    assert reduction == "none"
    return losses.mse(input, target, weight=weight, reduction=reduction)


def number(input, target):  # noqa: ARG001
    return 3.0


def narrower(input, target):
    return (input - target)[..., 1:].abs()


def nan(input, target):
    return (input - target) * float("nan")


def raises(input, target):  # noqa: ARG001
    raise ValueError("not today\nnor tomorrow")


def without_default(input, target, k):
    return (input - target).abs() * k


def alone(input):
    return input


def detached(input, target):
    return (input - target).detach().abs()


def changes_target(input, target):
    return (input - target.mul_(0.5)).abs()


def similarity(input, target):
    return 1 - (input - target).abs()


def total_variation(input, target):  # noqa: ARG001
    """A term that looks at the input alone."""
    return (input[..., 1:] - input[..., :-1]).abs().mean()


class Power:
    """Errors to a power, as a class."""

    def __init__(self, *, k: float = 2.0, how: Literal["all", "none"] = "all"):
        self.k, self.how = k, how

    def __call__(self, input, target):
        return (input - target).abs() ** self.k


@dataclasses.dataclass
class Scaled:
    """A dataclass, whose objects cannot be hashed."""

    factor: float = 3.0

    def __call__(self, input, target, weight=None):
        return self.factor * losses.mse(input, target, weight=weight, reduction="none")


class Features(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(0.9)

    def forward(self, input, target):
        seen = self.convolution(torch.cat([input, target]))
        a, b = self.dropout(seen).chunk(2)
        return (a - b).square().mean(dim=1, keepdim=True)


module = nn.L1Loss()
features = Features()
scaled = Scaled(factor=5.0)


class Uncallable:
    pass


class NotBuilt:
    def __init__(self, k: float = 2.0):  # noqa: ARG002
        raise ValueError("k has to be odd")

    def __call__(self, input, target):
        return (input - target).abs()


class WithoutDefault:
    def __init__(self, k):
        self.k = k

    def __call__(self, input, target):
        return self.k * (input - target).abs()


class MovingAverage(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.ones(()))

    def forward(self, input, target):
        error = (input - target).square().mean()
        self.average.lerp_(error.detach(), 0.1)
        return error / self.average


of_one_picture = nn.Flatten()
_calls = []


def counts_calls(input, target):
    _calls.append(1)
    return (input - target).abs() / len(_calls)


def of_pythons_random_numbers(input, target):
    return (input - target).abs() * random.random()


def of_torchs_random_numbers(input, target):
    """Of a random part of the pixels."""
    return (input - target).abs() * (torch.rand(input.shape[0], 1, *input.shape[2:]) < 0.5)
