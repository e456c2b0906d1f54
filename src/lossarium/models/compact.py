"""A small autoencoder for face swapping that a CPU trains in minutes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError

_SLOPE = 0.1


@dataclass(frozen=True)
class CompactWidths:
    """How wide the layers of `compact` are."""

    encoder: tuple[int, int, int, int] = (24, 64, 128, 256)
    """Channels after each stride-2 convolution."""
    bottleneck: int = 64
    """Channels before and after the dense bottleneck."""
    code: int = 160
    """Features of the dense bottleneck."""
    decoder: tuple[int, int, int, int] = (96, 64, 32, 16)
    """Channels after each upscaling; the first one is the encoder's."""


@dataclass(frozen=True)
class CompactOptions:
    """The options of `compact`."""

    icnr: bool = True
    """Whether upscaling layers begin with ICNR, without a checkerboard pattern."""


_DEFAULTS = CompactOptions()
_WIDTHS = CompactWidths()


class Compact(nn.Module):
    """A shared encoder and one decoder per identity.

    Encoder: four stride-2 convolutions, a dense bottleneck, one pixel-shuffle upscaling. Each decoder: three
    more, and a convolution to RGB. It has the layout of the usual face-swap models at a hundredth of their
    cost: 1,580,070 parameters for two identities at 64 px.

    Args:
        size: Side of the pictures, a multiple of 16.
        identities: The number of decoders.
        options: How its weights are initialised.
        widths: How wide its layers are.

    Raises:
        LossariumError: the size is not a positive multiple of 16.
    """

    def __init__(
        self,
        size: int,
        identities: int = 2,
        options: CompactOptions = _DEFAULTS,
        widths: CompactWidths = _WIDTHS,
    ) -> None:
        super().__init__()
        if size <= 0 or size % 16:
            raise LossariumError(f"the compact model takes sizes that are multiples of 16, not {size}")
        self.encoder = _encoder(size, widths)
        self.decoders = nn.ModuleList(_decoder(widths) for _ in range(identities))
        self.apply(_initialise)
        if options.icnr:
            for part in (self.encoder, *self.decoders):
                _initialise_upscaling(part)

    def forward(self, pictures: Tensor, identities: Sequence[int]) -> Tensor:
        """Encode every slice of the batch and decode it as an identity.

        Args:
            pictures: (slices, batch, 3, size, size) in [0, 1].
            identities: For each slice the identity whose decoder it uses: (0, 1) reconstructs, (1, 0) swaps.

        Returns:
            The same shape, in (0, 1).
        """
        codes = self.encoder(pictures.flatten(0, 1)).chunk(len(identities))
        decoded = [self.decoders[i](code) for i, code in zip(identities, codes, strict=True)]
        return torch.stack(decoded).sigmoid()


def _encoder(size: int, widths: CompactWidths) -> nn.Sequential:
    side = size // 16
    features = widths.bottleneck * side**2
    first, second, third, fourth = widths.encoder
    return nn.Sequential(
        *_downscale(3, first, kernel=5),
        *_downscale(first, second, kernel=3),
        *_downscale(second, third, kernel=3),
        *_downscale(third, fourth, kernel=3),
        nn.Conv2d(fourth, widths.bottleneck, kernel_size=1),
        nn.Flatten(),
        nn.Linear(features, widths.code),
        nn.Linear(widths.code, features),
        nn.Unflatten(1, (widths.bottleneck, side, side)),
        *_upscale(widths.bottleneck, widths.decoder[0]),
    )


def _decoder(widths: CompactWidths) -> nn.Sequential:
    first, second, third, last = widths.decoder
    return nn.Sequential(
        *_upscale(first, second),
        *_upscale(second, third),
        *_upscale(third, last),
        nn.Conv2d(last, 3, kernel_size=3, padding=1),
    )


def _downscale(channels: int, to: int, kernel: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, to, kernel, stride=2, padding=kernel // 2),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _upscale(channels: int, to: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, 4 * to, kernel_size=3, padding=1),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.PixelShuffle(2),
    )


def _initialise(module: nn.Module) -> None:
    """He initialisation: with torch's default gain the signal vanishes over twelve layers."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=_SLOPE)
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _initialise_upscaling(module: nn.Sequential) -> None:
    """ICNR: the four pixels that a shuffle makes from one begin equal, without a checkerboard pattern.

    Source: Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017.
    """
    for convolution, shuffle in zip(module, list(module)[2:], strict=False):
        if isinstance(convolution, nn.Conv2d) and isinstance(shuffle, nn.PixelShuffle):
            with torch.no_grad():
                convolution.weight.copy_(convolution.weight[::4].repeat_interleave(4, dim=0))
