"""The loss on the levels of a Laplacian pyramid."""

from functools import partial

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.gradient.pixel_gradient import repeat_border
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target

_MOST_LEVELS = 5


def laplacian(
    input: Tensor,
    target: Tensor,
    *,
    levels: int = 0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Laplacian pyramid loss: the mean absolute error of each scale of the pictures, summed over scales.

    sum over j of mean |L_j(input) - L_j(target)|, where L_0, L_1, ... are the band-pass levels of the
    Laplacian pyramid, each half as wide and high as the one before it, and the last is the low-pass rest.
    Range [0, inf), in units of the pictures; 0 at equality. A flat offset counts once, through the rest.
    Source: Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the latent space of generative networks, 2018,
    section 2: sum over j of 2^(2j) |L_j(x) - L_j(y)|_1. Level j has 4^-j as many pixels, so that this is our
    sum of means times the number of pixels and channels. Pyramid: Burt, Adelson, The Laplacian pyramid as a
    compact image code, 1983. Their kernel (1, 4, 6, 4, 1) / 16, centred on every second pixel from border to
    border, fits odd sides; on even sides (1, 3, 3, 1) / 8, centred between the pixels of every pair, takes
    its place, so that a mirrored picture always has the mirrored pyramid. Borders are repeated outwards.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        levels: How many band-pass levels lie above the rest; each needs a shorter side of at least 2 pixels.
            0 is as many as fit, five at most (five from 17 pixels on).
        weight: (N, 1, H, W), non-negative; where it is small, the input is blended towards the target.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: levels is negative, or more than fit the pictures.

    >>> import torch
    >>> laplacian(torch.full((1, 3, 32, 48), 0.5), torch.zeros(1, 3, 32, 48))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    count = _count_levels(levels, input)
    plain = partial(_laplacian_plain, levels=count)
    return measure(plain, partial(_laplacian_kernel, count), input, target, weight, how)


def _laplacian_kernel(levels: int) -> LossKernel:
    from lossarium.losses.gradient.laplacian_cpu import laplacian

    return partial(laplacian, levels=levels)


def _count_levels(levels: int, input: Tensor) -> int:
    height, width = input.shape[2:]
    # Sides halve rounding up: the last of n levels has 2 pixels or more if the side is above 2^(n - 1).
    fitting = max(min(height, width) - 1, 0).bit_length()
    if levels == 0:
        return min(fitting, _MOST_LEVELS)
    if not 0 < levels <= fitting or levels != int(levels):
        raise LossariumError(
            f"laplacian's levels must be 0, for as many as fit up to {_MOST_LEVELS}, or a whole number up to "
            f"{fitting} for pictures of {width}x{height}, not {levels}"
        )
    return int(levels)


def _laplacian_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, levels: int) -> Tensor:
    rest = blend_to_target(input, target, weight) - target
    value = rest.new_zeros(len(rest))
    for _ in range(levels):
        height, width = rest.shape[2:]
        coarse = _reduced(_reduced(rest).mT).mT
        expanded = _expanded(_expanded(coarse, width).mT, height).mT
        value = value + (rest - expanded).abs().mean(dim=(1, 2, 3))
        rest = coarse
    return value + rest.abs().mean(dim=(1, 2, 3))


def _reduced(planes: Tensor) -> Tensor:
    """Half as many samples along the last side, rounded up."""
    even = planes.shape[-1] % 2 == 0
    kernel = planes.new_tensor((1, 3, 3, 1) if even else (1, 4, 6, 4, 1))
    padded = repeat_border(planes, 1 if even else 2, -1)
    return padded.unfold(-1, len(kernel), 2) @ (kernel / kernel.sum())


def _expanded(planes: Tensor, length: int) -> Tensor:
    """From `_reduced` back to `length` samples along the last side, by the same kernel.

    Two samples come from each coarse one and its neighbours: the kernel's two phases.
    """
    phases = planes.new_tensor(((1, 3, 0), (0, 3, 1)) if length % 2 == 0 else ((1, 6, 1), (0, 4, 4)))
    neighbours = repeat_border(planes, 1, -1).unfold(-1, 3, 1)
    samples = neighbours @ (phases / phases.sum(dim=1, keepdim=True)).mT
    return samples.flatten(-2)[..., :length]


LOSSES = (
    LossInfo(
        name="laplacian",
        function=laplacian,
        family="frequency",
        formula="sum_j mean(|L_j(x) - L_j(y)|), L_j the levels of the Laplacian pyramid and its rest",
        source="Bojanowski et al. 2018, sec. 2; Burt and Adelson 1983",
        pixel_map=False,
        good_at="errors of every size, from texture to shading",
        bad_at="texture out of place: it is still compared pixel by pixel",
        gradient="A sum of signs, one per scale: it does not fade as the error shrinks. The coarse levels "
        "move whole regions at once.",
        artefacts="As with mae, texture whose place cannot be predicted is averaged away and comes out soft.",
        when="In place of mae if broad errors of shading and fine detail should count alike.",
    ),
)
