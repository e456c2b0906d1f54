"""The models by name."""

import hashlib
from collections.abc import Callable

import torch
from torch import nn

from lossarium.errors import LossariumError
from lossarium.models.compact import Compact

_MODELS: dict[str, Callable[[int, int], nn.Module]] = {"compact": Compact}


def initial_model(name: str, *, size: int, identities: int, seed: int) -> nn.Module:
    """A model with the initial weights of a seed: a function of the arguments, whatever was drawn before.

    Raises:
        LossariumError: there is no model of this name, or it does not take this size.
    """
    if name not in _MODELS:
        raise LossariumError(f'there is no model "{name}"; there are {", ".join(_MODELS)}')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _MODELS[name](size, identities)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of all weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
