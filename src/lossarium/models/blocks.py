"""Layers of the larger face-swap models, and their initial weights.

The layers are those of faceswap (lib/model/nn_blocks.py) and DeepFaceLab. Convolutions pad evenly on all
sides; Keras gives a stride-2 convolution its odd row of padding below and on the right.
"""

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.facesets.randomness import Purpose, generator
from lossarium.models.prediction import Prediction, stacked

_SLOPE = 0.1
_RESIDUAL_SLOPE = 0.2
_HE_SCALE = 2.0
_RESIDUAL_SCALE = 0.2
_STEPS_PER_SIDE = 16
_SHUFFLED = 4
_LANES = 16


class Downscale(nn.Sequential):
    """(N, channels, H, W) to (N, to, H / 2, W / 2): a 5x5 convolution with stride 2."""

    def __init__(self, channels: int, to: int) -> None:
        super().__init__(
            nn.Conv2d(channels, to, kernel_size=5, stride=2, padding=2), nn.LeakyReLU(_SLOPE, inplace=True)
        )


class Convolution(nn.Conv2d):
    """A convolution with an odd kernel that zero-pads its channels.

    Its weights are those of `nn.Conv2d`, padded with zeros as it runs: a layer of 126 channels then works on
    128, which vector instructions do in three quarters of the time.

    Args:
        channels: Input channels, without padding.
        to: Output channels, without padding.
        size: Side of the kernel.
        given: Output channels, with padding.
    """

    def __init__(self, channels: int, to: int, size: int, given: int) -> None:
        super().__init__(channels, to, size, padding=size // 2)
        self.given = given

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels or more, H, W) to (N, given, H, W)."""
        weight, bias = self.weight, self.bias
        assert bias is not None
        into, more = input.shape[1] - self.in_channels, self.given - self.out_channels
        if into or more:
            weight, bias = F.pad(weight, (0, 0, 0, 0, 0, into, 0, more)), F.pad(bias, (0, more))
        return F.conv2d(input, weight, bias, padding=self.padding)


def in_lanes(channels: int) -> int:
    """The number of channels, rounded up to fill vector registers."""
    return -(-channels // _LANES) * _LANES


class Upscale(nn.Sequential):
    """(N, channels, H, W) to (N, given, 2 H, 2 W): a 3x3 convolution and a pixel shuffle.

    Args:
        channels: As for `Convolution`.
        to: Channels after the shuffle, without padding.
        slope: Slope of the leaky ReLU.
        given: Channels after the shuffle, with padding; 0 for no padding.
    """

    def __init__(self, channels: int, to: int, slope: float = _SLOPE, given: int = 0) -> None:
        convolution = Convolution(channels, _SHUFFLED * to, 3, _SHUFFLED * (given or to))
        super().__init__(convolution, nn.LeakyReLU(slope, inplace=True), nn.PixelShuffle(2))


class Residual(nn.Module):
    """A residual block of two 3x3 convolutions, (N, in_lanes(channels), H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, 3, in_lanes(channels))
        self.second = Convolution(channels, channels, 3, in_lanes(channels))
        self.activation = nn.LeakyReLU(_RESIDUAL_SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Add the output of the convolutions to their input."""
        found: Tensor = self.second(self.activation(self.first(features)))
        changed: Tensor = self.activation(found.add_(features))
        return changed


def downscales(channels: Sequence[int]) -> nn.Sequential:
    """An encoder of pictures: one `Downscale` for each number of channels."""
    return nn.Sequential(*(Downscale(*pair) for pair in pairwise((3, *channels))))


def bottleneck(size: int, channels: int, halvings: int, features: int, code_channels: int) -> nn.Sequential:
    """Two dense layers without an activation between.

    Args:
        size: Side of the pictures.
        channels: Input channels, (N, channels, size / 2^halvings, size / 2^halvings).
        halvings: The number of `Downscale` layers before.
        features: Width of the narrowest layer.
        code_channels: Output channels, (N, code_channels, size / 16, size / 16).
    """
    side = size // _STEPS_PER_SIDE
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * (size // 2**halvings) ** 2, features),
        nn.Linear(features, code_channels * side**2),
        nn.Unflatten(1, (code_channels, side, side)),
    )


class Decoder(nn.Module):
    """Decodes a code to pictures eight times as wide.

    Args:
        channels: Channels of the code.
        stages: Channels after each doubling.
        slope: Slope of the leaky ReLU in each doubling.
        residuals: The number of `Residual` blocks after each doubling.
        multiscale: Whether every stage gives pictures, or only the last one.
        mask_stages: Channels after each doubling of a branch that gives masks; empty for no such branch.
    """

    def __init__(
        self,
        channels: int,
        stages: Sequence[int],
        *,
        slope: float = _SLOPE,
        residuals: int = 0,
        multiscale: bool = False,
        mask_stages: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                Upscale(before, after, slope, in_lanes(after)), *(Residual(after) for _ in range(residuals))
            )
            for before, after in pairwise((channels, *stages))
        )
        self.outputs = nn.ModuleList(_output(after, 3) for after in (stages if multiscale else stages[-1:]))
        self.mask: nn.Sequential | None = None
        if mask_stages:
            upscales = (
                Upscale(before, after, given=in_lanes(after))
                for before, after in pairwise((channels, *mask_stages))
            )
            self.mask = nn.Sequential(*upscales, _output(mask_stages[-1], 1))

    def forward(self, code: Tensor) -> Prediction:
        """Decode (N, channels, H, W) to pictures (N, 3, 8 H, 8 W): a `Prediction` without slices."""
        features = [code]
        for stage in self.stages:
            features.append(stage(features[-1]))
        ends = features[-len(self.outputs) :]
        *coarser, pictures = (_unit(output(end)) for output, end in zip(self.outputs, ends, strict=True))
        return Prediction(pictures, tuple(coarser), None if self.mask is None else _unit(self.mask(code)))


class Autoencoder(nn.Module):
    """A shared encoder and one decoder per identity.

    Args:
        encoder: (N, 3, size, size) in [0, 1] to codes.
        decoders: Codes to a `Prediction` without slices.
    """

    def __init__(self, encoder: nn.Module, decoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders)

    def forward(self, pictures: Tensor, identities: Sequence[int]) -> Tensor | Prediction:
        """Encode every slice of the batch at once and decode each as an identity.

        Args:
            pictures: (slices, batch, 3, size, size) in [0, 1].
            identities: For each slice the identity whose decoder it uses: (0, 1) reconstructs, (1, 0) swaps.

        Returns:
            Pictures of the same shape in [0, 1], in a `Prediction` if there are coarser ones or masks.

        Raises:
            ValueError: the numbers of identities and slices differ.
        """
        codes = self.encoder(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        decoded = [self.decoders[i](code) for i, code in zip(identities, codes, strict=True)]
        return stacked(decoded).simplest()


def dense_autoencoder(
    size: int,
    identities: int,
    *,
    encoder: Sequence[int],
    dense: int,
    code: int,
    upscaled: int,
    decoder: Sequence[int],
    learn_mask: bool,
) -> Autoencoder:
    """A shared encoder (stride-2 convolutions, dense bottleneck, one upscaling) and a `Decoder` per identity.

    Args:
        size: Side of the pictures.
        identities: The number of decoders.
        encoder: Channels after each halving.
        dense: Width of the bottleneck.
        code: Channels after it.
        upscaled: Channels after the upscaling.
        decoder: Channels after each doubling in a decoder.
        learn_mask: Whether each decoder has a branch of the same channels for masks.
    """
    shared = nn.Sequential(
        downscales(encoder),
        bottleneck(size, encoder[-1], len(encoder), dense, code),
        Upscale(code, upscaled),
    )
    masks = decoder if learn_mask else ()
    return Autoencoder(shared, [Decoder(upscaled, decoder, mask_stages=masks) for _ in range(identities)])


def check_size(model: str, size: int, identities: int) -> None:
    """Refuse a size or a number of identities that no model can have.

    Raises:
        LossariumError: the size is not a positive multiple of 16, or there are no identities.
    """
    if size <= 0 or size % _STEPS_PER_SIDE:
        raise LossariumError(f"the model {model} takes sizes that are multiples of 16, not {size}")
    if identities < 1:
        raise LossariumError(f"the model {model} needs at least one identity, not {identities}")


def check_at_least(model: str, minimum: int, **options: int) -> None:
    """Refuse options that would leave a layer without channels.

    Raises:
        LossariumError: an option is below the minimum.
    """
    for option, value in options.items():
        if value < minimum:
            raise LossariumError(
                f"the option {option} of the model {model} is at least {minimum}, not {value}"
            )


def initialise(model: nn.Module, seed: int, *, icnr: bool) -> None:
    """Draw the initial weights, each tensor a function of the seed, its own name and its shape.

    So a decoder begins the same with and without a mask branch, and an encoder for two identities as for
    three. All are uniform and have faceswap's variances. Convolutions: He's 2 / fan in, a tenth of it for the
    second of a residual block. Dense layers: Glorot's 2 / (fan in + fan out); 1 / fan in, which keeps the
    signal's variance, was worse in two of three short trials of small `original` and `dfl_sae`. Biases: 0.

    Args:
        model: Made of `nn.Conv2d` and `nn.Linear`.
        seed: The trial's.
        icnr: ICNR: initialise the four pixels that a pixel shuffle makes from one as equal, so that training
            need not remove a checkerboard (Aitken et al., Checkerboard artifact free sub-pixel convolution,
            2017).
    """
    shuffled = {id(block[0]) for block in model.modules() if isinstance(block, Upscale)}
    residual = {id(block.second) for block in model.modules() if isinstance(block, Residual)}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            scale = _RESIDUAL_SCALE if id(layer) in residual else _HE_SCALE
            variance = scale / layer.weight[0].numel()
            copies = _SHUFFLED if icnr and id(layer) in shuffled else 1
        elif isinstance(layer, nn.Linear):
            variance, copies = 2 / (layer.in_features + layer.out_features), 1
        else:
            continue
        _draw(layer.weight, f"{name}.weight", seed, variance, copies)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _draw(weight: Tensor, name: str, seed: int, variance: float, copies: int) -> None:
    """Fill a weight uniformly around 0; each drawn filter is repeated `copies` times in a row."""
    sample = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    stream = generator(seed, Purpose.INITIAL_WEIGHTS, sample=sample)
    bound = math.sqrt(3 * variance)
    drawn = stream.random((weight.shape[0] // copies, *weight.shape[1:]), dtype=np.float32)
    with torch.no_grad():
        values = torch.from_numpy(drawn).mul_(2 * bound).sub_(bound)
        weight.copy_(values.repeat_interleave(copies, dim=0) if copies > 1 else values)


def _output(channels: int, to: int) -> Convolution:
    return Convolution(channels, to, 5, to)


def _unit(features: Tensor) -> Tensor:
    """To (0, 1), in float32 or wider: bf16 has too few values near 1 for a picture."""
    return features.to(torch.promote_types(features.dtype, torch.float32)).sigmoid()
