"""Tries every judge before training, so that one that cannot work fails at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.judging.declaration import Judge
from lossarium.judging.held_out import Direction
from lossarium.models.randomness import seeded

_SIDE = 64


def try_judges(judges: Sequence[Judge], pair: tuple[Direction, ...]) -> None:
    """Try every judge on a few held-out frames, so that one that cannot work fails before training.

    Raises:
        LossariumError: a judge fails, does not give a finite number per picture, or scores equal pictures
            worse than noisy ones without declaring `higher_is_better`.
    """
    for direction in pair:
        truth = direction.frames[:2]
        if len(truth):
            for judge in judges:
                _try_judge(judge, truth, None)
        if len(direction.known) and direction.face is not None:
            for judge in judges:
                _try_judge(judge, direction.exact_swaps[:2], direction.face[:2])


@torch.inference_mode()
def _try_judge(judge: Judge, truth: Tensor, weight: Tensor | None) -> None:
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    noisy = (truth + 0.2 * noise).clamp(0, 1)
    with seeded(truth.device, 0):
        equal, different = (judge.measure(one, truth, weight) for one in (truth.clone(), noisy))
    found = f"{equal.mean():g} for equal pictures and {different.mean():g} for noisy ones"
    if not different.isfinite().all():
        raise LossariumError(f"the judge {judge.name} gives NaN or infinity ({found}); a score is finite")
    # A judge of the prediction alone, such as sharpness, may prefer noise if it declares higher_is_better.
    if not judge.direction_declared and (equal > different).all():
        raise LossariumError(
            f"the judge {judge.name} gives {found}, and lower is better unless it says otherwise; "
            "set its attribute higher_is_better to True (or to False, if this is right)"
        )


def try_judges_on_noise(judges: Sequence[Judge]) -> None:
    """Try every judge on two pictures of smooth noise, with and without a weight.

    Raises:
        LossariumError: as `try_judges`.
    """
    source = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, _SIDE // 8, _SIDE // 8, generator=source)
    truth = torch.nn.functional.interpolate(coarse, size=_SIDE, mode="bilinear")
    weight = torch.zeros(2, 1, _SIDE, _SIDE)
    weight[:, :, _SIDE // 4 : -_SIDE // 4, _SIDE // 4 : -_SIDE // 4] = 1
    for judge in judges:
        _try_judge(judge, truth, None)
        _try_judge(judge, truth, weight)
