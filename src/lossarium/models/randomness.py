"""Random numbers that a model draws from torch (dropout, sampling): a function of (seed, step).

A model draws from torch's default generators. Training seeds them again for every part of every step, so that
a resumed trial drops out the same features as one that never stopped. Judging seeds them with a constant, so
that all trials are judged with the same noise if a model draws any in evaluation mode.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lossarium.facesets.randomness import Purpose, generator


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of a device; restore their state afterwards.

    Args:
        device: The model's.
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

    Restores afterwards the mode of each module (some may be frozen in evaluation mode) and torch's random
    state.
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
        # The tuple is filled when CUDA is initialised, which moving the model to the device did.
        index = torch.cuda.current_device() if device.index is None else device.index
        return [torch.cuda.default_generators[index]]
    if device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    return []
