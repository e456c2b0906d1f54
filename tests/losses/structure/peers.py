"""What another package's structure losses give, and how far from that exact ones may be."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lossarium import losses
from lossarium.losses.structure import ms_ssim, ssim
from lossarium.losses.structure.constants import C1, C2
from tests.bounds import error_bound, unit_roundoff

_UNIT = unit_roundoff(torch.float32)
_SUMS = {11: 1 - 1.03125 * _UNIT, 7: 1 + 1.25 * _UNIT}
"""Sums of pytorch-msssim's windows, which are float32 whatever the pictures are: window -> sum."""


def check_golden(golden: Mapping[str, Any], pictures: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    """Our value of the pictures, given in float64, against pytorch-msssim's in float64.

    What the sum of its windows does is taken into account: nearly all of the difference.
    """
    options = {"window": 11, **golden["options"]}
    function = losses.info(golden["loss"]).function

    def measured(input: Tensor, target: Tensor) -> Tensor:
        value: Tensor = function(input, target, **options)
        return value

    value = measured(*(picture.to(dtype) for picture in pictures)).item()
    theirs, ours = (
        _of_scaled_windows(measured, pictures, total) for total in (_SUMS[options["window"]], 1.0)
    )
    # Each of its weights is rounded, down and across.
    single = partial(error_bound, measured, *pictures, dtype=torch.float32)
    allowed = single(roundings=2).item() + 2 * error_bound(measured, *pictures).item()
    if dtype == torch.float32:
        allowed += single().item()
    assert value + theirs - ours == pytest.approx(golden["values"]["float64"], abs=allowed)


def _of_scaled_windows(
    measured: Callable[[Tensor, Tensor], Tensor], pictures: tuple[Tensor, Tensor], scale: float
) -> float:
    """The value by variances as that package has them, E[x^2] - E[x]^2, of windows of another sum than 1."""

    def terms(input: Tensor, target: Tensor, window: int, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        products = (input, target, input * input, target * target, input * target)
        means = scale * ssim._blur(torch.cat(products), window, sigma)
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = means.chunk(5)
        luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
        covariance = mean_xy - mean_x * mean_y
        variances = mean_xx - mean_x.square() + mean_yy - mean_y.square()
        return luminance, 2 * covariance + C2, variances + C2

    with pytest.MonkeyPatch.context() as patch:
        for module in (ssim, ms_ssim):
            patch.setattr(module, "ssim_terms", terms)
        return measured(*pictures).item()
