"""Every loss as a module that keeps its options. Written by a program, not by hand.

`python -m lossarium.losses.write_modules` rewrites this file after a function's signature has changed.

>>> SSIM(window=7)
SSIM(window=7, sigma=1.5, color='rgb')
"""

# ruff: noqa: N801 - MS_SSIM is what the field calls it.

from torch import Tensor

from lossarium.losses.frequency.ffl import ffl
from lossarium.losses.frequency.wavelet_l1 import wavelet_l1
from lossarium.losses.gradient.gmsd import gmsd, ms_gmsd
from lossarium.losses.gradient.laplacian import laplacian
from lossarium.losses.gradient.mdsi import mdsi
from lossarium.losses.gradient.nlpd import nlpd
from lossarium.losses.gradient.pixel_gradient import pixel_gradient
from lossarium.losses.loss_module import LossModule
from lossarium.losses.perceptual.flip import flip
from lossarium.losses.perceptual.lpips import lpips
from lossarium.losses.perceptual.lpips_networks import LPIPSNet, LPIPSPrecision
from lossarium.losses.pixel.norms import linf, mae, mse, psnr, rmse, sse
from lossarium.losses.pixel.relative import imae, mape, mase, mbe, mpe
from lossarium.losses.pixel.robust import charbonnier, general, huber, logcosh, quantile, smooth_l1
from lossarium.losses.reduction import Color, Reduction
from lossarium.losses.structure.haarpsi import haarpsi
from lossarium.losses.structure.mix import mix
from lossarium.losses.structure.ms_ssim import ms_ssim
from lossarium.losses.structure.ssim import ssim
from lossarium.losses.structure.uqi import uqi


class Charbonnier(LossModule):
    """Charbonnier.

    The module of `lossarium.losses.charbonnier`.
    """

    def __init__(
        self,
        *,
        eps: float = 0.001,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return charbonnier(
            input,
            target,
            eps=self.eps,
            weight=weight,
            reduction=self.reduction,
        )


class FFL(LossModule):
    """Focal frequency loss.

    The module of `lossarium.losses.ffl`.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        patch_factor: int = 1,
        ave_spectrum: bool = False,
        log_matrix: bool = False,
        batch_matrix: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.alpha = alpha
        self.patch_factor = patch_factor
        self.ave_spectrum = ave_spectrum
        self.log_matrix = log_matrix
        self.batch_matrix = batch_matrix

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return ffl(
            input,
            target,
            alpha=self.alpha,
            patch_factor=self.patch_factor,
            ave_spectrum=self.ave_spectrum,
            log_matrix=self.log_matrix,
            batch_matrix=self.batch_matrix,
            weight=weight,
            reduction=self.reduction,
        )


class FLIP(LossModule):
    """LDR-FLIP.

    The module of `lossarium.losses.flip`.
    """

    def __init__(
        self,
        *,
        pixels_per_degree: float = 67.02064327658226,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.pixels_per_degree = pixels_per_degree

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return flip(
            input,
            target,
            pixels_per_degree=self.pixels_per_degree,
            weight=weight,
            reduction=self.reduction,
        )


class GMSD(LossModule):
    """Gradient magnitude similarity deviation.

    The module of `lossarium.losses.gmsd`.
    """

    def __init__(
        self,
        *,
        c: float = 0.00261437908496732,
        color: Color = "gray",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.c = c
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return gmsd(
            input,
            target,
            c=self.c,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class General(LossModule):
    """Barron's general robust loss.

    The module of `lossarium.losses.general`.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        c: float = 0.05,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.alpha = alpha
        self.c = c

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return general(
            input,
            target,
            alpha=self.alpha,
            c=self.c,
            weight=weight,
            reduction=self.reduction,
        )


class HaarPSI(LossModule):
    """1 - HaarPSI, so that smaller is better.

    The module of `lossarium.losses.haarpsi`.
    """

    def __init__(
        self,
        *,
        c: float = 0.000461361014994233,
        alpha: float = 4.2,
        subsample: bool = True,
        color: Color = "rgb",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.c = c
        self.alpha = alpha
        self.subsample = subsample
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return haarpsi(
            input,
            target,
            c=self.c,
            alpha=self.alpha,
            subsample=self.subsample,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class Huber(LossModule):
    """Huber.

    The module of `lossarium.losses.huber`.
    """

    def __init__(
        self,
        *,
        delta: float = 0.05,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return huber(
            input,
            target,
            delta=self.delta,
            weight=weight,
            reduction=self.reduction,
        )


class IMAE(LossModule):
    """Improved MAE.

    The module of `lossarium.losses.imae`.
    """

    def __init__(
        self,
        *,
        temperature: float = 8.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.temperature = temperature

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return imae(
            input,
            target,
            temperature=self.temperature,
            weight=weight,
            reduction=self.reduction,
        )


class LInf(LossModule):
    """Largest error, L-infinity.

    The module of `lossarium.losses.linf`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return linf(input, target, weight=weight, reduction=self.reduction)


class LPIPS(LossModule):
    """LPIPS 0.1.

    The module of `lossarium.losses.lpips`.
    """

    def __init__(
        self,
        *,
        net: LPIPSNet = "alex",
        spatial: bool = False,
        precision: LPIPSPrecision = "float32",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.net = net
        self.spatial = spatial
        self.precision = precision

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return lpips(
            input,
            target,
            net=self.net,
            spatial=self.spatial,
            precision=self.precision,
            weight=weight,
            reduction=self.reduction,
        )


class Laplacian(LossModule):
    """Laplacian pyramid loss.

    The module of `lossarium.losses.laplacian`.
    """

    def __init__(
        self,
        *,
        levels: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.levels = levels

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return laplacian(
            input,
            target,
            levels=self.levels,
            weight=weight,
            reduction=self.reduction,
        )


class LogCosh(LossModule):
    """Log-cosh.

    The module of `lossarium.losses.logcosh`.
    """

    def __init__(
        self,
        *,
        scale: float = 0.05,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.scale = scale

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return logcosh(
            input,
            target,
            scale=self.scale,
            weight=weight,
            reduction=self.reduction,
        )


class MAE(LossModule):
    """Mean absolute error, L1.

    The module of `lossarium.losses.mae`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mae(input, target, weight=weight, reduction=self.reduction)


class MAPE(LossModule):
    """Mean absolute percentage error.

    The module of `lossarium.losses.mape`.
    """

    def __init__(
        self,
        *,
        eps: float = 0.00392156862745098,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mape(
            input,
            target,
            eps=self.eps,
            weight=weight,
            reduction=self.reduction,
        )


class MASE(LossModule):
    """Mean absolute scaled error.

    The module of `lossarium.losses.mase`.
    """

    def __init__(
        self,
        *,
        eps: float = 0.00392156862745098,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mase(
            input,
            target,
            eps=self.eps,
            weight=weight,
            reduction=self.reduction,
        )


class MBE(LossModule):
    """Mean bias error.

    The module of `lossarium.losses.mbe`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mbe(input, target, weight=weight, reduction=self.reduction)


class MDSI(LossModule):
    """Mean deviation similarity index.

    The module of `lossarium.losses.mdsi`.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.6,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.alpha = alpha

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mdsi(
            input,
            target,
            alpha=self.alpha,
            weight=weight,
            reduction=self.reduction,
        )


class MPE(LossModule):
    """Mean percentage error.

    The module of `lossarium.losses.mpe`.
    """

    def __init__(
        self,
        *,
        eps: float = 0.00392156862745098,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mpe(
            input,
            target,
            eps=self.eps,
            weight=weight,
            reduction=self.reduction,
        )


class MSE(LossModule):
    """Mean squared error.

    The module of `lossarium.losses.mse`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mse(input, target, weight=weight, reduction=self.reduction)


class MS_GMSD(LossModule):
    """Gradient magnitude similarity deviation at four scales.

    The module of `lossarium.losses.ms_gmsd`.
    """

    def __init__(
        self,
        *,
        scales: int = 0,
        c: float = 0.00261437908496732,
        alpha: float = 0.5,
        color: Color = "gray",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.scales = scales
        self.c = c
        self.alpha = alpha
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return ms_gmsd(
            input,
            target,
            scales=self.scales,
            c=self.c,
            alpha=self.alpha,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class MS_SSIM(LossModule):
    """1 - MS-SSIM, so that smaller is better.

    The module of `lossarium.losses.ms_ssim`.
    """

    def __init__(
        self,
        *,
        scales: int = 0,
        window: int = 11,
        sigma: float = 1.5,
        color: Color = "rgb",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.scales = scales
        self.window = window
        self.sigma = sigma
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return ms_ssim(
            input,
            target,
            scales=self.scales,
            window=self.window,
            sigma=self.sigma,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class Mix(LossModule):
    """alpha (1 - MS-SSIM) + (1 - alpha) G * L1, with G a Gaussian.

    The module of `lossarium.losses.mix`.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.84,
        sigma: float = 8.0,
        scales: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.alpha = alpha
        self.sigma = sigma
        self.scales = scales

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mix(
            input,
            target,
            alpha=self.alpha,
            sigma=self.sigma,
            scales=self.scales,
            weight=weight,
            reduction=self.reduction,
        )


class NLPD(LossModule):
    """Normalised Laplacian pyramid distance.

    The module of `lossarium.losses.nlpd`.
    """

    def __init__(
        self,
        *,
        color: Color = "gray",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return nlpd(
            input,
            target,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class PSNR(LossModule):
    """Peak signal-to-noise ratio.

    The module of `lossarium.losses.psnr`.
    """

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.data_range = data_range

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return psnr(
            input,
            target,
            data_range=self.data_range,
            weight=weight,
            reduction=self.reduction,
        )


class PixelGradient(LossModule):
    """Pixel gradient difference.

    The module of `lossarium.losses.pixel_gradient`.
    """

    def __init__(
        self,
        *,
        second_order: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.second_order = second_order

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return pixel_gradient(
            input,
            target,
            second_order=self.second_order,
            weight=weight,
            reduction=self.reduction,
        )


class Quantile(LossModule):
    """Quantile or pinball loss.

    The module of `lossarium.losses.quantile`.
    """

    def __init__(
        self,
        *,
        q: float = 0.5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.q = q

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return quantile(
            input,
            target,
            q=self.q,
            weight=weight,
            reduction=self.reduction,
        )


class RMSE(LossModule):
    """Root mean squared error.

    The module of `lossarium.losses.rmse`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return rmse(input, target, weight=weight, reduction=self.reduction)


class SSE(LossModule):
    """Sum of squared errors.

    The module of `lossarium.losses.sse`.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return sse(input, target, weight=weight, reduction=self.reduction)


class SSIM(LossModule):
    """1 - SSIM, so that smaller is better.

    The module of `lossarium.losses.ssim`.
    """

    def __init__(
        self,
        *,
        window: int = 11,
        sigma: float = 1.5,
        color: Color = "rgb",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.window = window
        self.sigma = sigma
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return ssim(
            input,
            target,
            window=self.window,
            sigma=self.sigma,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class SmoothL1(LossModule):
    """Smooth L1.

    The module of `lossarium.losses.smooth_l1`.
    """

    def __init__(
        self,
        *,
        beta: float = 0.05,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return smooth_l1(
            input,
            target,
            beta=self.beta,
            weight=weight,
            reduction=self.reduction,
        )


class UQI(LossModule):
    """1 - Q, Q the universal image quality index that SSIM grew from.

    The module of `lossarium.losses.uqi`.
    """

    def __init__(
        self,
        *,
        window: int = 8,
        color: Color = "rgb",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.window = window
        self.color = color

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return uqi(
            input,
            target,
            window=self.window,
            color=self.color,
            weight=weight,
            reduction=self.reduction,
        )


class WaveletL1(LossModule):
    """Wavelet L1.

    The module of `lossarium.losses.wavelet_l1`.
    """

    def __init__(
        self,
        *,
        levels: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.levels = levels

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return wavelet_l1(
            input,
            target,
            levels=self.levels,
            weight=weight,
            reduction=self.reduction,
        )
