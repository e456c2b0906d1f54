"""The classifiers whose features LPIPS compares: AlexNet, VGG-16 and SqueezeNet 1.1, as lists of layers.

A network is a sequence of stages; the output of each stage is one of the features that are compared. Layers
are named as in torchvision's `features`, which is how the tensors of a weights file are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError

Weights = Mapping[str, Tensor]
LPIPSNet = Literal["alex", "vgg", "squeeze"]
"""A classifier: AlexNet, VGG-16 or SqueezeNet 1.1."""
LPIPSPrecision = Literal["float32", "bfloat16"]
"""The precision of the convolutions."""


@dataclass(frozen=True)
class ConvolutionSpec:
    """A convolution with a square kernel, followed by a ReLU."""

    name: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{self.name}.weight": (self.channels_out, self.channels_in, self.kernel, self.kernel),
            f"{self.name}.bias": (self.channels_out,),
        }

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        weight, bias = weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]
        if self.stride == 1:
            return F.conv2d(x, weight, bias, padding=self.padding).relu_()
        return F.conv2d(self._without_stride(x), weight, bias).relu_()

    def prepared(self, weights: Weights) -> dict[str, Tensor]:
        """The weights in the layout that `__call__` uses."""
        weight = weights[f"{self.name}.weight"]
        if self.stride > 1:
            # Pad with zeros so that the side of the kernel is a multiple of the stride.
            missing = self._blocks() * self.stride - self.kernel
            weight = F.pixel_unshuffle(F.pad(weight, (0, missing, 0, missing)), self.stride)
        return {f"{self.name}.weight": weight, f"{self.name}.bias": weights[f"{self.name}.bias"]}

    def _without_stride(self, x: Tensor) -> Tensor:
        """Move each block of stride x stride pixels into the channels of one pixel (space to depth).

        The same convolution then has stride 1 and many channels instead of three, which on a CPU makes the
        gradient of AlexNet's first one, by far its slowest, three times as fast.
        """
        padding = []
        for length in (x.shape[3], x.shape[2]):
            places = (length + 2 * self.padding - self.kernel) // self.stride + 1
            needed = (places - 1 + self._blocks()) * self.stride
            padding += [self.padding, needed - length - self.padding]
        folded = F.pixel_unshuffle(F.pad(x, padding), self.stride)
        return folded.contiguous(memory_format=torch.channels_last)

    def _blocks(self) -> int:
        """The kernel's side in strides, rounded up."""
        return -(-self.kernel // self.stride)


@dataclass(frozen=True)
class Fire:
    """SqueezeNet's Fire module: a 1x1 convolution to few channels, then 1x1 and 3x3 ones in parallel."""

    name: str
    channels_in: int
    squeezed: int
    expanded: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: shape
            for convolution in self._convolutions()
            for name, shape in convolution.shapes().items()
        }

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        squeeze, expand1x1, expand3x3 = self._convolutions()
        x = squeeze(x, weights)
        return torch.cat((expand1x1(x, weights), expand3x3(x, weights)), dim=1)

    def prepared(self, weights: Weights) -> dict[str, Tensor]:
        return {name: weights[name] for name in self.shapes()}

    def _convolutions(self) -> tuple[ConvolutionSpec, ConvolutionSpec, ConvolutionSpec]:
        return (
            ConvolutionSpec(f"{self.name}.squeeze", self.channels_in, self.squeezed, 1),
            ConvolutionSpec(f"{self.name}.expand1x1", self.squeezed, self.expanded, 1),
            ConvolutionSpec(f"{self.name}.expand3x3", self.squeezed, self.expanded, 3, padding=1),
        )


@dataclass(frozen=True)
class MaxPooling:
    kernel: int
    ceil_mode: bool = False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:  # noqa: ARG002
        return F.max_pool2d(x, self.kernel, stride=2, ceil_mode=self.ceil_mode)

    def prepared(self, weights: Weights) -> dict[str, Tensor]:  # noqa: ARG002
        return {}


Layer = ConvolutionSpec | Fire | MaxPooling


@dataclass(frozen=True)
class Network:
    """A classifier's convolutional part."""

    stages: tuple[tuple[Layer, ...], ...]
    channels: tuple[int, ...]
    """Channels of each stage's output."""
    smallest_side: int
    """The least side of a picture, which leaves one place in the last stage."""
    pixels_at_once: int
    """Pictures per chunk on a CPU: more do not fit the cache, fewer read the weights too often. Measured with
    2 cores, 2 MB of L2 cache and 32 MB of L3 cache."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each tensor of the weights, the linear layers of LPIPS included."""
        shapes: dict[str, tuple[int, ...]] = {}
        for stage in self.stages:
            for layer in stage:
                shapes |= layer.shapes()
        return shapes | {f"lin.{i}.weight": (1, channels, 1, 1) for i, channels in enumerate(self.channels)}

    def prepared(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """Weights in the layout of `features`; the linear layers, (1, C, 1, 1), are at least float32."""
        kept = {
            name: tensor.to(device, torch.promote_types(dtype, torch.float32))
            for name, tensor in weights.items()
            if name.startswith("lin.")
        }
        for stage in self.stages:
            for layer in stage:
                for name, tensor in layer.prepared(weights).items():
                    order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
                    kept[name] = tensor.to(device, dtype).contiguous(memory_format=order)
        return kept

    def features(self, pictures: Tensor, weights: Weights) -> list[Tensor]:
        """The output of each stage for pictures of the weights' dtype, whatever autocast is on."""
        features = []
        for stage in range(len(self.stages)):
            pictures = self.stage(stage, pictures, weights)
            features.append(pictures)
        return features

    def stage(self, stage: int, x: Tensor, weights: Weights) -> Tensor:
        """The output of one stage for that of the stage before, or for pictures."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.contiguous(memory_format=torch.channels_last)
            for layer in self.stages[stage]:
                x = layer(x, weights)
        return x


_ALEXNET = Network(
    stages=(
        (ConvolutionSpec("features.0", 3, 64, 11, stride=4, padding=2),),
        (MaxPooling(3), ConvolutionSpec("features.3", 64, 192, 5, padding=2)),
        (MaxPooling(3), ConvolutionSpec("features.6", 192, 384, 3, padding=1)),
        (ConvolutionSpec("features.8", 384, 256, 3, padding=1),),
        (ConvolutionSpec("features.10", 256, 256, 3, padding=1),),
    ),
    channels=(64, 192, 384, 256, 256),
    smallest_side=31,
    pixels_at_once=2**19,
)

_VGG16 = Network(
    stages=(
        (
            ConvolutionSpec("features.0", 3, 64, 3, padding=1),
            ConvolutionSpec("features.2", 64, 64, 3, padding=1),
        ),
        (
            MaxPooling(2),
            ConvolutionSpec("features.5", 64, 128, 3, padding=1),
            ConvolutionSpec("features.7", 128, 128, 3, padding=1),
        ),
        (
            MaxPooling(2),
            ConvolutionSpec("features.10", 128, 256, 3, padding=1),
            ConvolutionSpec("features.12", 256, 256, 3, padding=1),
            ConvolutionSpec("features.14", 256, 256, 3, padding=1),
        ),
        (
            MaxPooling(2),
            ConvolutionSpec("features.17", 256, 512, 3, padding=1),
            ConvolutionSpec("features.19", 512, 512, 3, padding=1),
            ConvolutionSpec("features.21", 512, 512, 3, padding=1),
        ),
        (
            MaxPooling(2),
            ConvolutionSpec("features.24", 512, 512, 3, padding=1),
            ConvolutionSpec("features.26", 512, 512, 3, padding=1),
            ConvolutionSpec("features.28", 512, 512, 3, padding=1),
        ),
    ),
    channels=(64, 128, 256, 512, 512),
    smallest_side=16,
    pixels_at_once=2**17,
)

_SQUEEZENET = Network(
    stages=(
        (ConvolutionSpec("features.0", 3, 64, 3, stride=2),),
        (
            MaxPooling(3, ceil_mode=True),
            Fire("features.3", 64, 16, 64),
            Fire("features.4", 128, 16, 64),
        ),
        (
            MaxPooling(3, ceil_mode=True),
            Fire("features.6", 128, 32, 128),
            Fire("features.7", 256, 32, 128),
        ),
        (MaxPooling(3, ceil_mode=True), Fire("features.9", 256, 48, 192)),
        (Fire("features.10", 384, 48, 192),),
        (Fire("features.11", 384, 64, 256),),
        (Fire("features.12", 512, 64, 256),),
    ),
    channels=(64, 128, 256, 384, 384, 512, 512),
    smallest_side=17,
    pixels_at_once=2**17,
)

_NETWORKS: dict[LPIPSNet, Network] = {"alex": _ALEXNET, "vgg": _VGG16, "squeeze": _SQUEEZENET}


def network(net: LPIPSNet) -> Network:
    """The network of this name.

    Raises:
        LossariumError: there is no such network.
    """
    return _NETWORKS[known_net(net)]


def known_net(net: str) -> LPIPSNet:
    """The same word, if it names a network.

    Raises:
        LossariumError: there is no such network.
    """
    for known in _NETWORKS:
        if net == known:
            return known
    raise LossariumError(f"lpips knows the nets {', '.join(_NETWORKS)}, not {net!r}")
