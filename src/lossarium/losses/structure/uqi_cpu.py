"""The kernel of UQI. Contract: `lossarium.losses.fused.LossKernel`."""

from torch import Tensor

from lossarium.losses.structure.ssim_cpu import Window, mean_dissimilarity


def uqi(
    input: Tensor, target: Tensor, weight: Tensor | None, scale: float | None, *, window: int, epsilon: float
) -> tuple[Tensor, Tensor | None]:
    """The mean over channels and windows of 1 - Q: SSIM with box windows and an epsilon for C1 and C2.

    In float64: with so small an epsilon, float32's rounding of a flat window's variance would show.
    """
    shape = Window((1 / window,) * window, epsilon, epsilon, double=True)
    return mean_dissimilarity(input, target, weight, scale, shape)
