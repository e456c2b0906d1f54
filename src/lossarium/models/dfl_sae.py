"""DeepFaceLab's SAE in both architectures, df and liae.

Source: iperov/DeepFaceLab, as ported in deepfakes/faceswap, plugins/train/model/dfl_sae.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.models.blocks import (
    Autoencoder,
    Decoder,
    Upscale,
    bottleneck,
    check_at_least,
    check_size,
    downscales,
)
from lossarium.models.prediction import Prediction
from lossarium.text.suggestions import nearest

_DECODER_SLOPE = 0.2
_AE_DIMS = {"df": 512, "liae": 256}


@dataclass(frozen=True)
class DflSaeOptions:
    """The options of `dfl_sae`."""

    architecture: str = "df"
    """df: a decoder per identity, keeps faces natural. liae: one decoder, bridges different face shapes."""
    ae_dims: int = 0
    """Width of the dense bottleneck; 0 means 512 with df and 256 with liae."""
    encoder_dims: int = 42
    """Channels of the encoder for each channel of the picture."""
    decoder_dims: int = 21
    """Channels of the decoder for each channel of the picture."""
    multiscale_decoder: bool = False
    """Whether the decoder also gives pictures of a quarter and half the side, which are trained as well."""
    learn_mask: bool = False
    """Whether each decoder has a branch for masks."""
    icnr: bool = True
    """Whether upscaling layers begin with ICNR, without a checkerboard pattern."""

    def __post_init__(self) -> None:
        if self.architecture not in _AE_DIMS:
            raise LossariumError(
                f'dfl_sae has no architecture "{self.architecture}"; '
                f"{nearest(self.architecture, tuple(_AE_DIMS))}"
            )
        check_at_least("dfl_sae", 0, ae_dims=self.ae_dims)
        check_at_least("dfl_sae", 1, encoder_dims=self.encoder_dims, decoder_dims=self.decoder_dims)


_DEFAULTS = DflSaeOptions()


def dfl_sae(size: int = 128, identities: int = 2, options: DflSaeOptions = _DEFAULTS) -> "Autoencoder | Liae":
    """Four stride-2 convolutions, a dense bottleneck, four upscalings, residual blocks after the last three.

    Parameters for two identities at 128 px: 130,008,718 with df, as in faceswap; 121,746,593 with liae. The
    weights are torch's defaults: `lossarium.models.registry.initial_model` draws proper ones.

    Args:
        size: Side of the pictures, a multiple of 16.
        identities: The number of decoders with df, of routes through the intermediates with liae.
        options: The architecture and the sizes of the layers.

    Raises:
        LossariumError: the size is not a positive multiple of 16, or there are no identities.
    """
    check_size("dfl_sae", size, identities)
    width = 3 * options.encoder_dims
    scales = downscales((width, 2 * width, 4 * width, 8 * width))
    dims = options.ae_dims or _AE_DIMS[options.architecture]
    if options.architecture == "liae":
        return Liae(
            scales,
            _intermediate(size, 8 * width, dims, 2 * dims),
            [_intermediate(size, 8 * width, dims, 2 * dims) for _ in range(identities - 1)],
            _decoder(4 * dims, options),
        )
    encoder = nn.Sequential(scales, *_intermediate(size, 8 * width, dims, dims))
    return Autoencoder(encoder, [_decoder(dims, options) for _ in range(identities)])


class Liae(nn.Module):
    """One encoder, one decoder, and between them a shared intermediate and one per further identity.

    A code is two halves side by side. The second half is always the shared intermediate's (faceswap's
    `intermediate_both`, DeepFaceLab's inter_AB). The first half is the shared one's again for identity 0, and
    that of its own intermediate (`intermediate_b`, inter_B) for identity 1. With more than two, each further
    identity has its own intermediate, as identity 1 does; a single identity has only the shared one.

    Args:
        encoder: (N, 3, size, size) in [0, 1] to features.
        shared: Features to half a code (N, channels, size / 8, size / 8).
        own: The same for each identity from 1 on.
        decoder: Codes (N, 2 channels, size / 8, size / 8) to a `Prediction` without slices.
    """

    def __init__(
        self, encoder: nn.Module, shared: nn.Module, own: Sequence[nn.Module], decoder: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.shared = shared
        self.own = nn.ModuleList(own)
        self.decoder = decoder

    def forward(self, pictures: Tensor, identities: Sequence[int]) -> Tensor | Prediction:
        """Encode and decode all slices of the batch at once, each by the route of an identity.

        Args:
            pictures: (slices, batch, 3, size, size) in [0, 1].
            identities: For each slice the identity whose route it takes: (0, 1) reconstructs, (1, 0) swaps.

        Returns:
            Pictures of the same shape in [0, 1], in a `Prediction` if there are coarser ones or masks.

        Raises:
            ValueError: the numbers of identities and slices differ.
        """
        slices = pictures.shape[:2]
        features = self.encoder(pictures.flatten(0, 1))
        shared = self.shared(features)
        parts = zip(identities, features.unflatten(0, slices), shared.unflatten(0, slices), strict=True)
        first = torch.cat([self.own[i - 1](of_slice) if i else same for i, of_slice, same in parts])
        decoded: Prediction = self.decoder(torch.cat((first, shared), dim=1))
        return decoded.mapped(lambda tensor: tensor.reshape(*slices, *tensor.shape[1:])).simplest()


def _intermediate(size: int, channels: int, features: int, code_channels: int) -> nn.Sequential:
    return nn.Sequential(
        bottleneck(size, channels, 4, features, code_channels), Upscale(code_channels, code_channels)
    )


def _decoder(channels: int, options: DflSaeOptions) -> Decoder:
    dims = options.decoder_dims
    # The original's masks are not scaled by the picture's three channels.
    mask_stages = (8 * dims, 4 * dims, 2 * dims) if options.learn_mask else ()
    return Decoder(
        channels,
        (24 * dims, 12 * dims, 6 * dims),
        slope=_DECODER_SLOPE,
        residuals=2,
        multiscale=options.multiscale_decoder,
        mask_stages=mask_stages,
    )
