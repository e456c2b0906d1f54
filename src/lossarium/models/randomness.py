"""Torch's randomness inside a model (dropout, sampling): a function of (seed, step), not of what ran before.

A model draws from torch's default generators. Training seeds them anew for every part of every step, so that
a trial that was killed and resumed drops out the same features. Judging seeds them with a constant, so that
all trials are judged with the same noise, should a model draw any in evaluation mode.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lossarium.facesets.randomness import Purpose, generator


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of a device; afterwards they go on as if nothing had been drawn.

    Args:
        device: Where the model computes.
        seed: From 0 to 2^64 - 1.
    """
    generators = [torch.default_generator, *_generators_of(device)]
    before = [one.get_state() for one in generators]
    for one in generators:
        one.manual_seed(seed)
    try:
        yield
    finally:
        for one, state in zip(generators, before, strict=True):
            one.set_state(state)


def training_seed(seed: int, step: int, part: int) -> int:
    """The seed of torch's generators for one part of one step.

    Args:
        seed: The trial's.
        step: From 1.
        part: Counted over the batches that a step accumulates and over the processes that share them.
    """
    return int(generator(seed, Purpose.TRAINING, step, part).integers(2**63))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode: no dropout, batch normalisation by its running statistics.

    Afterwards each module is in the mode that it was in (a module may have been frozen in evaluation mode),
    and torch's random state is as before.
    """
    modes = [(module, module.training) for module in model.modules()]
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    model.eval()
    try:
        with seeded(device, 0):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _generators_of(device: torch.device) -> list[torch.Generator]:
    if device.type == "cuda":
        # Filled as CUDA is initialised, which the model's move to the device did.
        index = torch.cuda.current_device() if device.index is None else device.index
        return [torch.cuda.default_generators[index]]
    if device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    return []
