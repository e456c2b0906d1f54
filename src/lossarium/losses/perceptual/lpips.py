"""Losses that compare the features of a neural network."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import measure
from lossarium.losses.perceptual.lpips_networks import LPIPSNet, LPIPSPrecision, Weights, network
from lossarium.losses.perceptual.lpips_weights import lpips_weights
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, weighted_mean

_PRECISIONS: tuple[LPIPSPrecision, ...] = get_args(LPIPSPrecision)
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)

# Shorter features are rounding noise of the convolutions and are not scaled to length 1. The published code
# adds 1e-10 to the length instead, whose gradient is infinite where all features are 0; with this floor even
# the fifth power of the inverse length, as in second derivatives, is finite in float32.
_SMALLEST_LENGTH = 1e-7

_Kept = tuple[Tensor, dict[tuple[object, ...], list[Tensor]]]
_KEPT: ContextVar[_Kept | None] = ContextVar("_KEPT", default=None)


@contextmanager
def keeping_features(target: Tensor) -> Iterator[None]:
    """Compute the features of `target` only once in this context, however many inputs LPIPS compares with it.

    About half of the work of judging several pictures against one. Its values must not change meanwhile. The
    features take some 10 times its memory with "alex".

    Args:
        target: (N, 3, H, W), float32, contiguous; what `lpips` is called with.
    """
    token = _KEPT.set((target, {}))
    try:
        yield
    finally:
        _KEPT.reset(token)


def _features_of_target(target: Tensor, net: LPIPSNet, dtype: torch.dtype, weights: Weights) -> list[Tensor]:
    kept = _KEPT.get()
    ours = kept is not None and target.untyped_storage().data_ptr() == kept[0].untyped_storage().data_ptr()
    if kept is None or not ours:
        return network(net).features(_normalised(target).to(dtype), weights)
    key = (net, dtype, target.storage_offset(), target.shape, target.stride())
    if key not in kept[1]:
        kept[1][key] = network(net).features(_normalised(target).to(dtype), weights)
    return kept[1][key]


def lpips(
    input: Tensor,
    target: Tensor,
    *,
    net: LPIPSNet = "alex",
    spatial: bool = False,
    precision: LPIPSPrecision = "float32",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """LPIPS 0.1: the distance of two pictures in the features of a classifier. Range [0, inf), 0 at equality.

    Sum over layers l of mean(sum_c w_lc (f_lc(input) - f_lc(target))^2), where f_l are the outputs of some
    rectified convolutions, scaled to unit length over channels c at every place, and w_l >= 0 was learned
    from human judgements; the mean is over places.
    Source: Zhang, Isola, Efros, Shechtman, Wang, The unreasonable effectiveness of deep features, 2018, eq. 1

    Args:
        input: (N, 3, H, W), the prediction, RGB in [0, 1]. Both sides are at least 31 pixels with "alex", 16
            with "vgg", 17 with "squeeze".
        target: (N, 3, H, W), the truth.
        net: The classifier: "alex" (AlexNet; the fastest and the authors' choice for judging), "vgg"
            (VGG-16; their choice for training, about 25 times the work) or "squeeze" (SqueezeNet 1.1). The
            weights of "alex" are bundled; for the others see `lossarium.losses.perceptual.lpips_weights`.
        spatial: Whether each layer's distances are enlarged (bilinearly) to the pictures' size and summed
            before the mean, so that `weight` is exact for each pixel. It shifts the value a little, since
            enlarging changes the weight of places near the border.
        precision: "float32" (float64 for float64 pictures), or "bfloat16" for the convolutions alone: twice
            as fast where the processor has it (AVX512-BF16, AMX), else slow. Values are then off by up to
            0.4 % (3 % on nearly equal pictures), gradients by 6 to 21 degrees on photographs, since small
            differences of features round.
        weight: (N, 1, H, W), non-negative; the weight of each pixel. Unless `spatial`, the input is blended
            towards the target where the weight is small.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures are not RGB or too small, the net or the precision is unknown, or the
            net's weights are missing.

    >>> import torch
    >>> lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check(input, net, precision)
    if not spatial:
        # Blended here, outside the kernel, so that autograd handles the blending.
        input, weight = blend_to_target(input, target, weight), None
    plain = partial(_lpips_plain, net=net, spatial=spatial, precision=precision)
    kernel = partial(_lpips_kernel, net=net, spatial=spatial, precision=precision)
    return measure(plain, lambda: kernel, input, target, weight, how)


def _lpips_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    net: LPIPSNet,
    spatial: bool,
    precision: LPIPSPrecision,
) -> Tensor:
    average = partial(_average, weight=weight, size=input.shape[2:] if spatial else None)
    layers = [average(distances) for distances in _distances(input, target, net, precision)]
    return torch.stack(layers).sum(dim=0)


def _lpips_map(
    input: Tensor,
    target: Tensor,
    *,
    net: LPIPSNet,
    spatial: bool,  # noqa: ARG001 - accepted beside the loss's other options; a map is spatial anyhow
    precision: LPIPSPrecision,
) -> Tensor:
    """Each layer's distances, enlarged to the pictures' size and summed, (N, 1, H, W)."""
    _check(input, net, precision)
    layers = [
        _enlarged(distances, input.shape[2:]) for distances in _distances(input, target, net, precision)
    ]
    return torch.stack(layers).sum(dim=0)


def _check(input: Tensor, net: LPIPSNet, precision: LPIPSPrecision) -> None:
    smallest = network(net).smallest_side
    if input.shape[1] != 3 or min(input.shape[2:]) < smallest:
        raise LossariumError(
            f"lpips(net={net}) needs RGB pictures with sides of at least {smallest}, not {tuple(input.shape)}"
        )
    if precision not in _PRECISIONS:
        raise LossariumError(f'lpips\'s precision must be "float32" or "bfloat16", not {precision!r}')


def _convolved_in(precision: LPIPSPrecision, pictures: Tensor) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else pictures.dtype


def _normalised(pictures: Tensor) -> Tensor:
    """(2 pictures - 1 - mean) / deviation, in one pass."""
    factor = pictures.new_tensor([2 / deviation for deviation in _DEVIATION])
    offset = pictures.new_tensor(
        [-(1 + m) / deviation for m, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    )
    return torch.addcmul(offset.view(3, 1, 1), pictures, factor.view(3, 1, 1))


def _distances(input: Tensor, target: Tensor, net: LPIPSNet, precision: LPIPSPrecision) -> list[Tensor]:
    """For each layer the weighted squared difference at every place, (N, 1, h, w)."""
    dtype = _convolved_in(precision, input)
    weights = lpips_weights(net, input.device, dtype)
    seen, truths = (
        network(net).features(_normalised(pictures).to(dtype), weights) for pictures in (input, target)
    )
    return [
        ((_unit_length(a.to(input)) - _unit_length(b.to(input))).square() * weights[f"lin.{i}.weight"]).sum(
            dim=1, keepdim=True
        )
        for i, (a, b) in enumerate(zip(seen, truths, strict=True))
    ]


def _unit_length(features: Tensor) -> Tensor:
    return features * features.square().sum(dim=1, keepdim=True).clamp(min=_SMALLEST_LENGTH**2).rsqrt()


def _average(distances: Tensor, weight: Tensor | None, size: torch.Size | None) -> Tensor:
    """Average a layer's distances over each picture, (N,), enlarged to `size` unless it is None."""
    return weighted_mean(distances if size is None else _enlarged(distances, size), weight)


def _enlarged(distances: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(distances, size=size, mode="bilinear", align_corners=False)


def _lpips_kernel(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    net: LPIPSNet,
    spatial: bool,
    precision: LPIPSPrecision,
) -> tuple[Tensor, Tensor | None]:
    """Value and gradient, a few pictures at a time, so that their features stay in the cache."""
    # Imported late, like all kernels: the compiler takes half a second.
    from lossarium.losses.perceptual.lpips_cpu import compare_features

    dtype = _convolved_in(precision, input)
    weights = lpips_weights(net, input.device, dtype)
    size = input.shape[2:] if spatial else None
    count = max(1, network(net).pixels_at_once // input[0, 0].numel())
    values, gradients = [], []
    for start in range(0, len(input), count):
        some = slice(start, start + count)
        counted = None if weight is None else weight[some]
        truths = _features_of_target(target[some], net, dtype, weights)
        stages = _stages(_normalised(input[some]).to(dtype), net, weights, sloped=scale is not None)
        value = input.new_zeros(len(truths[0]))
        pulls = []
        for i, ((_, seen), truth) in enumerate(zip(stages, truths, strict=True)):
            layer, pull = compare_features(
                seen.detach().float(),
                truth.float(),
                weights[f"lin.{i}.weight"].flatten(),
                _shares((len(seen), 1, *seen.shape[2:]), counted, size),
                scale,
                smallest=_SMALLEST_LENGTH,
            )
            value += layer
            if pull is not None:
                pulls.append(pull)
        values.append(value)
        if scale is not None:
            gradient = _way_back(stages, pulls)
            gradients.append(gradient.to(input) * (2 / input.new_tensor(_DEVIATION)).view(3, 1, 1))
    return torch.cat(values), torch.cat(gradients) if gradients else None


def _stages(
    pictures: Tensor, net: LPIPSNet, weights: Weights, *, sloped: bool
) -> list[tuple[Tensor, Tensor]]:
    """Each stage's input, detached from the stage before, and its output."""
    stages = []
    with torch.set_grad_enabled(sloped):
        for stage in range(len(network(net).stages)):
            start = pictures.detach().requires_grad_(sloped)
            pictures = network(net).stage(stage, start, weights)
            stages.append((start, pictures))
    return stages


def _way_back(stages: list[tuple[Tensor, Tensor]], pulls: list[Tensor]) -> Tensor:
    """Backpropagate to the first stage's input; `pulls` are the gradients of the stages' own distances."""
    gradient = None
    for pull in reversed(pulls):
        start, seen = stages.pop()
        pull = pull.to(seen.dtype)
        total = pull if gradient is None else gradient.add_(pull)
        (gradient,) = torch.autograd.grad(seen, start, total)
    assert gradient is not None
    return gradient


def _shares(shape: tuple[int, ...], weight: Tensor | None, size: torch.Size | None) -> Tensor:
    """The weight of each place of a layer's distances, (N, 1, h, w), in their average: its gradient."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        # Cloned, since autograd cannot use a tensor of inference mode.
        weight = None if weight is None else weight.clone()
        distances = torch.zeros(shape, requires_grad=True)
        (shares,) = torch.autograd.grad(_average(distances, weight, size).sum(), distances)
    return shares[:, 0]


LOSSES = (
    LossInfo(
        name="lpips",
        function=lpips,
        family="perceptual",
        formula="sum_l mean(sum_c w_lc (f_lc(x) - f_lc(y))^2), f_l = features of layer l, |f_l| = 1",
        source="Zhang et al. 2018, eq. 1 (version 0.1)",
        map=_lpips_map,
        pixel_map=False,
        good_at="texture and sharpness as people judge them",
        bad_at="exact colour and place; runs a whole network",
        gradient="It fades in proportion to the error near equality and saturates far from it, since "
        "features are compared at unit length. It is largest where the features are weak, as on smooth "
        "skin, and jumps where a ReLU or a max pooling switches.",
        artefacts="Colours drift and fine grids appear, with the period of the network's strides (4 pixels "
        "with alex, 2 with vgg), since many pictures have nearly the same features.",
        when="Add it with a small factor to a pixel or structure loss, to bring back detail that these "
        "blur; vgg is the authors' choice for training, alex costs a twenty-fifth of it.",
    ),
)
