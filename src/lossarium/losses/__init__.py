"""Loss functions: plain functions of (input, target), by name and by spec.

>>> from lossarium import losses
>>> losses.get("0.84*ssim + 0.16*mae")
Loss(0.84*ssim + 0.16*mae)
"""

from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import without_kernels
from lossarium.losses.module import Loss, get
from lossarium.losses.perceptual import lpips
from lossarium.losses.pixel import mae, mse, smooth_l1
from lossarium.losses.registry import info, map, names
from lossarium.losses.structure import ssim

__all__ = [
    "Loss",
    "LossInfo",
    "get",
    "info",
    "lpips",
    "mae",
    "map",
    "mse",
    "names",
    "smooth_l1",
    "ssim",
    "without_kernels",
]
