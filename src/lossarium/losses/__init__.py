"""Loss functions: plain functions of (input, target), by name and by spec.

>>> from lossarium import losses
>>> losses.get("0.84*ssim + 0.16*mae")
Loss(0.84*ssim + 0.16*mae)
"""

from lossarium.losses.declaration import LossInfo
from lossarium.losses.frequency.ffl import ffl
from lossarium.losses.frequency.wavelet_l1 import wavelet_l1
from lossarium.losses.fused import without_kernels
from lossarium.losses.gradient.gmsd import gmsd, ms_gmsd
from lossarium.losses.gradient.laplacian import laplacian
from lossarium.losses.gradient.mdsi import mdsi
from lossarium.losses.gradient.nlpd import nlpd
from lossarium.losses.gradient.pixel_gradient import pixel_gradient
from lossarium.losses.module import Loss, TermReport, get
from lossarium.losses.modules import (
    FFL,
    FLIP,
    GMSD,
    IMAE,
    LPIPS,
    MAE,
    MAPE,
    MASE,
    MBE,
    MDSI,
    MPE,
    MS_GMSD,
    MS_SSIM,
    MSE,
    NLPD,
    PSNR,
    RMSE,
    SSE,
    SSIM,
    UQI,
    Charbonnier,
    General,
    HaarPSI,
    Huber,
    Laplacian,
    LInf,
    LogCosh,
    Mix,
    PixelGradient,
    Quantile,
    SmoothL1,
    WaveletL1,
)
from lossarium.losses.own import register
from lossarium.losses.perceptual.flip import flip
from lossarium.losses.perceptual.lpips import lpips
from lossarium.losses.perceptual.lpips_networks import LPIPSNet, LPIPSPrecision
from lossarium.losses.pixel.norms import linf, mae, mse, psnr, rmse, sse
from lossarium.losses.pixel.relative import imae, mape, mase, mbe, mpe
from lossarium.losses.pixel.robust import charbonnier, general, huber, logcosh, quantile, smooth_l1
from lossarium.losses.reduction import Color, Reduction
from lossarium.losses.registry import info, map, names
from lossarium.losses.structure.haarpsi import haarpsi
from lossarium.losses.structure.mix import mix
from lossarium.losses.structure.ms_ssim import ms_ssim
from lossarium.losses.structure.ssim import ssim
from lossarium.losses.structure.uqi import uqi
from lossarium.losses.value_range import RangeWarning

__all__ = [
    "FFL",
    "FLIP",
    "GMSD",
    "IMAE",
    "LPIPS",
    "MAE",
    "MAPE",
    "MASE",
    "MBE",
    "MDSI",
    "MPE",
    "MSE",
    "MS_GMSD",
    "MS_SSIM",
    "NLPD",
    "PSNR",
    "RMSE",
    "SSE",
    "SSIM",
    "UQI",
    "Charbonnier",
    "Color",
    "General",
    "HaarPSI",
    "Huber",
    "LInf",
    "LPIPSNet",
    "LPIPSPrecision",
    "Laplacian",
    "LogCosh",
    "Loss",
    "LossInfo",
    "Mix",
    "PixelGradient",
    "Quantile",
    "RangeWarning",
    "Reduction",
    "SmoothL1",
    "TermReport",
    "WaveletL1",
    "charbonnier",
    "ffl",
    "flip",
    "general",
    "get",
    "gmsd",
    "haarpsi",
    "huber",
    "imae",
    "info",
    "laplacian",
    "linf",
    "logcosh",
    "lpips",
    "mae",
    "map",
    "mape",
    "mase",
    "mbe",
    "mdsi",
    "mix",
    "mpe",
    "ms_gmsd",
    "ms_ssim",
    "mse",
    "names",
    "nlpd",
    "pixel_gradient",
    "psnr",
    "quantile",
    "register",
    "rmse",
    "smooth_l1",
    "sse",
    "ssim",
    "uqi",
    "wavelet_l1",
    "without_kernels",
]
