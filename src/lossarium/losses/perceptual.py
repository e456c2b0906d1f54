"""Losses that compare what a network sees."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, reduce

# AlexNet's convolutions: name in the weights, stride, padding, whether a max-pooling precedes it.
_ALEXNET = (
    ("features.0", 4, 2, False),
    ("features.3", 1, 2, True),
    ("features.6", 1, 1, True),
    ("features.8", 1, 1, False),
    ("features.10", 1, 1, False),
)
_SMALLEST_SIDE = 31
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)


def lpips(
    input: Tensor,
    target: Tensor,
    *,
    net: str = "alex",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """LPIPS 0.1: the distance of two pictures in the features of a classifier. Range [0, inf), 0 at equality.

    The outputs of five rectified convolutions are normalised over channels, their squared differences
    weighted by layers learned from human judgements, averaged over places and summed over layers.
    Source: Zhang, Isola, Efros, Shechtman, Wang, The unreasonable effectiveness of deep features, 2018, eq. 1

    Args:
        input: (N, 3, H, W), the prediction, RGB in [0, 1]; both sides at least 31.
        target: (N, 3, H, W), the truth.
        net: The classifier; "alex" is bundled.
        weight: (N, 1, H, W), non-negative; the input is blended to the target where it is small.
        reduction: "mean" for a scalar, "none" for one value a picture, (N,).

    Raises:
        LossariumError: the pictures are not RGB or too small, or the net is unknown.

    >>> import torch
    >>> lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    tensor(0.)
    """
    input, target, weight = as_pictures(input, target, weight)
    if input.shape[1] != 3 or min(input.shape[2:]) < _SMALLEST_SIDE:
        raise LossariumError(
            f"lpips needs RGB pictures with sides of at least {_SMALLEST_SIDE}, not {tuple(input.shape)}"
        )
    weights = {name: tensor.to(input) for name, tensor in _weights(net).items()}
    with torch.no_grad():
        truths = _alexnet_features(_normalised(target), weights)
    seen = _alexnet_features(_normalised(blend_to_target(input, target, weight)), weights)
    layers = [
        F.conv2d((a - b).square(), weights[f"lin.{i}.weight"]).mean(dim=(1, 2, 3))
        for i, (a, b) in enumerate(zip(seen, truths, strict=True))
    ]
    return reduce(torch.stack(layers).sum(dim=0), reduction)


@cache
def _weights(net: str) -> Mapping[str, Tensor]:
    if net != "alex":
        raise LossariumError(f'lpips knows the net "alex", not {net!r}')
    # Whoever calls first, perhaps a judge in inference mode, must leave weights that training can use.
    with torch.inference_mode(False):
        return load((files("lossarium.losses") / "weights" / "lpips_alex.safetensors").read_bytes())


def _normalised(pictures: Tensor) -> Tensor:
    mean, deviation = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    return (pictures * 2 - 1 - mean) / deviation


def _alexnet_features(pictures: Tensor, weights: Mapping[str, Tensor]) -> list[Tensor]:
    """The five rectified convolutions' outputs, each of unit length over channels at every place."""
    x = pictures.contiguous(memory_format=torch.channels_last)
    features = []
    for name, stride, padding, pooled in _ALEXNET:
        if pooled:
            x = F.max_pool2d(x, kernel_size=3, stride=2)
        x = F.conv2d(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding
        ).relu()
        features.append(_unit_length(x))
    return features


def _unit_length(features: Tensor) -> Tensor:
    # The published code adds 1e-10 outside the root, whose gradient is infinite where no feature fires.
    # 1e-20 inside it gives the same values and a finite gradient.
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-20).rsqrt()


LOSSES = (
    LossInfo(
        name="lpips",
        function=lpips,
        family="perceptual",
        formula="sum_l mean(w_l (f_l(x) - f_l(y))^2)",
        source="Zhang et al. 2018, eq. 1",
        pixel_map=False,
        good_at="",
        bad_at="",
        gradient="",
        artefacts="",
        when="",
    ),
)
