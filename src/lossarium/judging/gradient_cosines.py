"""Cosines between the weight gradients of losses and of judges, at states that training passes through.

The states are in `home_states.safetensors`: a narrow `compact` autoencoder after 30, 100 and 300 steps of
`mse` and of `ssim` on the bundled faces, and 16 of their held-out frames at 64 px. They are part of the
package, so that every machine measures at the same states. `lossarium.judging.measure_homes` makes the file.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from statistics import median

import torch
from safetensors.torch import load_file
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.judging.declaration import Judge
from lossarium.losses.module import Loss
from lossarium.losses.spec import Spec, Term
from lossarium.models.compact import Compact, CompactWidths
from lossarium.models.randomness import seeded

SIZE = 64
"""Side of the pictures, in pixels."""
PICTURES = "pictures"
"""The key of the frames in the file of states; all other keys are `state/weight`."""
_FILE = "home_states.safetensors"
_WIDTHS = CompactWidths(encoder=(8, 16, 24, 32), bottleneck=16, code=48, decoder=(24, 16, 12, 8))

Objective = Callable[[Tensor, Tensor], Tensor]
"""(prediction, truth) -> the number that its descent lowers."""


@dataclass(frozen=True)
class Cosine:
    """The cosine between two weight gradients, over the states."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def over(cls, values: Sequence[float]) -> "Cosine | None":
        """Rounded to two decimals, so that processors agree; None if no state has a gradient."""
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return None
        return cls(*(round(number, 2) + 0.0 for number in (median(known), min(known), max(known))))


def narrow_model() -> Compact:
    """The autoencoder of the states, of 100,638 weights."""
    return Compact(SIZE, widths=_WIDTHS)


def cosines(losses: Sequence[Spec], judges: Sequence[Judge]) -> dict[str, dict[str, Cosine | None]]:
    """The cosine between each loss's weight gradient and each judge's: loss -> judge -> cosine.

    A judge's gradient is that of its mean over the pictures, negated where higher is better. A sum is
    compared with its own terms, too; their keys are `term:0`, `term:1` and so on.

    Returns:
        None where the loss or the judge cannot be computed on these pictures, or has no gradient.
    """
    objectives: dict[str, Objective] = {f"judge:{judge.name}": _objective_of(judge) for judge in judges}
    for loss in losses:
        objectives[str(loss)] = Loss(loss)
        objectives |= {f"term:{term}": Loss(Spec((term,))) for term in _terms(loss)}
    found: dict[tuple[str, str], list[float]] = {}
    with torch.inference_mode(False), torch.enable_grad():
        for gradients in _gradients(objectives):
            for loss in losses:
                others = {judge.name: f"judge:{judge.name}" for judge in judges}
                others |= {f"term:{place}": f"term:{term}" for place, term in enumerate(_terms(loss))}
                for name, key in others.items():
                    cosine = _cosine(gradients[str(loss)], gradients[key])
                    found.setdefault((str(loss), name), []).append(cosine)
    table: dict[str, dict[str, Cosine | None]] = {}
    for (spec, name), values in found.items():
        table.setdefault(spec, {})[name] = Cosine.over(values)
    return table


def _terms(loss: Spec) -> tuple[Term, ...]:
    """The terms of a sum; none for a loss that is not one."""
    return loss.terms if len(loss.terms) > 1 else ()


def _objective_of(judge: Judge) -> Objective:
    sign = -1 if judge.higher_is_better else 1

    def objective(prediction: Tensor, truth: Tensor) -> Tensor:
        return sign * judge.measure(prediction, truth, None).mean()

    return objective


def _gradients(objectives: Mapping[str, Objective]) -> Iterator[Mapping[str, Tensor | None]]:
    """State by state, the weight gradient of every objective, (weights,), or None without one."""
    states, frames = _states()
    with seeded(torch.device("cpu"), 0):
        model = narrow_model()
    weights: list[Tensor] = list(model.parameters())
    truth = frames.flatten(0, 1)
    for state in states:
        model.load_state_dict(state)
        prediction = model(frames, (0, 1)).flatten(0, 1)
        of_pictures = {name: _by_pictures(one, prediction, truth) for name, one in objectives.items()}
        yield {
            name: None if gradient is None else _by_weights(prediction, weights, gradient)
            for name, gradient in of_pictures.items()
        }


def _by_weights(prediction: Tensor, weights: list[Tensor], gradient: Tensor) -> Tensor:
    parts = torch.autograd.grad(prediction, weights, gradient, retain_graph=True)
    return torch.cat([part.flatten().double() for part in parts])


def _by_pictures(objective: Objective, prediction: Tensor, truth: Tensor) -> Tensor | None:
    """The gradient by the predicted pictures; None if there is none."""
    pictures = prediction.detach().requires_grad_()
    try:
        with seeded(torch.device("cpu"), 0), warnings.catch_warnings():
            # A judge that makes plain numbers of its values has no gradient, which is no mistake.
            warnings.simplefilter("ignore")
            value = objective(pictures, truth.clone())
        if not value.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(value, pictures, allow_unused=True)
    except (LossariumError, RuntimeError, TypeError, ValueError):
        # A user's judge or loss that leaves torch, or that takes only larger pictures.
        return None
    return gradient


def _cosine(first: Tensor | None, second: Tensor | None) -> float:
    """NaN where either has no direction."""
    if first is None or second is None:
        return math.nan
    lengths = float(first.norm() * second.norm())
    return float(first @ second) / lengths if lengths > 0 else math.nan


@cache
def _states() -> tuple[tuple[Mapping[str, Tensor], ...], Tensor]:
    """The weights of every state, and the frames, (2, 8, 3, 64, 64) in [0, 1]."""
    with as_file(files("lossarium.judging") / _FILE) as path:
        stored = load_file(path)
    frames = stored.pop(PICTURES).float() / 255
    states: dict[str, dict[str, Tensor]] = {}
    for key, weight in stored.items():
        state, _, name = key.partition("/")
        states.setdefault(state, {})[name] = weight.float()
    return tuple(states[name] for name in sorted(states)), frames
