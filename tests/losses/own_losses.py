"""Losses as users write them, good and bad."""

import torch

from lossarium import losses


def power(input, target, *, k: float = 2.0):
    """Errors to the power of k."""
    return (input - target).abs() ** k


@losses.register(name="pinned", good_at="telling apart")
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


module = torch.nn.L1Loss()
