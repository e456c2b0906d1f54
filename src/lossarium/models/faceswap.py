"""faceswap's models for 64 px: `lightweight` and `original`.

Source: deepfakes/faceswap, plugins/train/model/lightweight.py and original.py. Sizes are multiples
of 16: the narrowest code has a sixteenth of the side, 4 x 4 at 64 px.
"""

from dataclasses import dataclass

from lossarium.models.blocks import Autoencoder, check_at_least, check_size, dense_autoencoder


@dataclass(frozen=True)
class LightweightOptions:
    """The options of `lightweight`."""

    channels: int = 128
    """Channels of the first convolution; those of the others are multiples of it."""
    encoder_dims: int = 512
    """Width of the dense bottleneck."""
    learn_mask: bool = False
    """Whether each decoder has a branch for masks."""
    icnr: bool = True
    """Whether upscaling layers begin with ICNR, without a checkerboard pattern."""

    def __post_init__(self) -> None:
        check_at_least("lightweight", 1, channels=self.channels, encoder_dims=self.encoder_dims)


@dataclass(frozen=True)
class OriginalOptions:
    """The options of `original`."""

    channels: int = 128
    """Channels of the first convolution; those of the others are multiples of it or of its half."""
    encoder_dims: int = 1024
    """Width of the dense bottleneck."""
    learn_mask: bool = False
    """Whether each decoder has a branch for masks."""
    icnr: bool = True
    """Whether upscaling layers begin with ICNR, without a checkerboard pattern."""

    def __post_init__(self) -> None:
        check_at_least("original", 2, channels=self.channels)
        check_at_least("original", 1, encoder_dims=self.encoder_dims)


_LIGHTWEIGHT = LightweightOptions()
_ORIGINAL = OriginalOptions()


def lightweight(
    size: int = 64, identities: int = 2, options: LightweightOptions = _LIGHTWEIGHT
) -> Autoencoder:
    """Three stride-2 convolutions, a dense bottleneck, one upscaling; three more in each decoder.

    51,066,374 parameters for two identities at 64 px, as in faceswap. The weights are torch's
    defaults: `lossarium.models.registry.initial_model` draws proper ones.

    Args:
        size: Side of the pictures, a multiple of 16.
        identities: The number of decoders.
        options: The sizes of the layers.

    Raises:
        LossariumError: the size is not a positive multiple of 16, or there are no identities.
    """
    check_size("lightweight", size, identities)
    width = options.channels
    return dense_autoencoder(
        size,
        identities,
        encoder=(width, 2 * width, 4 * width),
        dense=options.encoder_dims,
        code=4 * width,
        upscaled=2 * width,
        decoder=(4 * width, 2 * width, width),
        learn_mask=options.learn_mask,
    )


def original(size: int = 64, identities: int = 2, options: OriginalOptions = _ORIGINAL) -> Autoencoder:
    """Four stride-2 convolutions, a dense bottleneck, one upscaling; three more in each decoder.

    82,062,470 parameters for two identities at 64 px, as in faceswap. The weights are torch's
    defaults: `lossarium.models.registry.initial_model` draws proper ones.

    Args:
        size: Side of the pictures, a multiple of 16.
        identities: The number of decoders.
        options: The sizes of the layers.

    Raises:
        LossariumError: the size is not a positive multiple of 16, or there are no identities.
    """
    check_size("original", size, identities)
    width = options.channels
    return dense_autoencoder(
        size,
        identities,
        encoder=(width, 2 * width, 4 * width, 8 * width),
        dense=options.encoder_dims,
        code=8 * width,
        upscaled=4 * width,
        decoder=(2 * width, width, width // 2),
        learn_mask=options.learn_mask,
    )
