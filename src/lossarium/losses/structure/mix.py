"""The mix of MS-SSIM and an absolute error under a Gaussian."""

from functools import partial

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Reduction, as_pictures, weighted_mean
from lossarium.losses.structure.ms_ssim import (
    MS_SSIM_WEIGHTS,
    SIGMA,
    SMALLEST_SIMILARITY,
    WINDOW,
    ms_ssim_plain,
    weights_of_scales,
)
from lossarium.losses.structure.ssim import gaussian_band


def mix(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.84,
    sigma: float = 8.0,
    scales: int = 0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """alpha (1 - MS-SSIM) + (1 - alpha) G * L1, with G a Gaussian. Range [0, inf), 0 at equality.

    The paper writes it for a patch: MS-SSIM at its central pixel, and the absolute errors of the patch
    averaged under a Gaussian about that pixel, with the sigma of the coarsest scale. Here every pixel of the
    picture is the centre of a patch once; the Gaussian reaches 2 sigma and is normalised over its part inside
    the picture, and the averages are averaged over the centres. MS-SSIM is `ms_ssim` of the whole picture,
    which halves the pictures where the paper widens the Gaussian from scale to scale.
    Source: Zhao, Gallo, Frosio, Kautz, Loss functions for image restoration with neural networks, 2017,
    equation 14.

    Args:
        input: (N, C, H, W), the prediction; sides of at least 11.
        target: (N, C, H, W), the truth.
        alpha: The weight of 1 - MS-SSIM, in [0, 1]; the absolute error has the rest.
        sigma: Standard deviation in pixels of the Gaussian over absolute errors.
        scales: As for `ms_ssim`.
        weight: (N, 1, H, W), non-negative; the weight of each centre.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: alpha is outside [0, 1], sigma is not positive, or that many scales do not fit.

    >>> import torch
    >>> flat = torch.full((1, 3, 64, 64), 0.5)
    >>> mix(flat + 0.1, flat, alpha=0.0)
    tensor(0.1000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    if not 0 <= alpha <= 1:
        raise LossariumError(f"mix's alpha must be from 0 to 1, not {alpha}")
    if not sigma > 0:
        raise LossariumError(f"mix's sigma must be positive, not {sigma}")
    exponents = weights_of_scales("mix", scales, input, smallest_side=WINDOW, published=MS_SSIM_WEIGHTS)
    plain = partial(_mix_plain, alpha=alpha, sigma=sigma, exponents=exponents)
    return measure(plain, partial(_mix_kernel, alpha, sigma, exponents), input, target, weight, how)


def _mix_kernel(alpha: float, sigma: float, exponents: tuple[float, ...]) -> LossKernel:
    from lossarium.losses.structure.mix_cpu import mix

    return partial(
        mix,
        alpha=alpha,
        patch_sigma=sigma,
        exponents=exponents,
        window=WINDOW,
        sigma=SIGMA,
        smallest=SMALLEST_SIMILARITY,
    )


def _mix_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    alpha: float,
    sigma: float,
    exponents: tuple[float, ...],
) -> Tensor:
    structure = ms_ssim_plain(input, target, weight, exponents=exponents, window=WINDOW, sigma=SIGMA)
    return alpha * structure + (1 - alpha) * _patch_mae_plain(input, target, weight, sigma=sigma)


def _patch_mae_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, sigma: float) -> Tensor:
    return weighted_mean((input - target).abs(), _patch_weight(input, weight, sigma))


def _patch_weight(input: Tensor, weight: Tensor | None, sigma: float) -> Tensor:
    """The total weight of each pixel over all patches, (N, 1, H, W).

    The error about the centre p is sum_q g_pq |e_q| with sum_q g_pq = 1, and centres are averaged by their
    weight w_p: sum_q (sum_p w_p g_pq) |e_q| / sum_p w_p. The new weights sum_p w_p g_pq have the same sum
    over q, so this is the mean of |e| under them: only the weight is blurred, not every channel of the error.
    """
    n, _, height, width = input.shape
    if weight is None:
        weight = input.new_ones(n, 1, height, width)
    rows, columns = (_patches(length, sigma).to(input) for length in (height, width))
    return rows.mT @ weight @ columns


def _patches(length: int, sigma: float) -> Tensor:
    """The (length, length) matrix whose rows are the Gaussian about each place, normalised to the sum 1."""
    radius = int(2 * sigma)
    band = gaussian_band(length + 2 * radius, 2 * radius + 1, sigma)[:, radius : radius + length]
    return band / band.sum(dim=1, keepdim=True)


LOSSES = (
    LossInfo(
        name="mix",
        function=mix,
        family="structure",
        formula="a (1 - MS-SSIM(x, y)) + (1 - a) mean(G * |x - y|), a = 0.84, G a Gaussian of sigma 8",
        source="Zhao, Gallo, Frosio, Kautz 2017, eq. 14",
        good_at="structure at all scales with colour held in place",
        bad_at="exact values: the absolute error is only 16 % of it",
        gradient=(
            "That of ms_ssim plus 0.16 times an L1's, whose length does not depend on the error and falls "
            "slightly towards the border."
        ),
        artefacts="Slight softness of fine texture; weaker colour drift than with ms_ssim alone.",
        when=(
            "As a first choice without a perceptual loss; its authors found it the best of theirs for "
            "denoising, demosaicking and removing JPEG's artefacts."
        ),
    ),
)
