"""DeepFaceLab's H128.

Source: iperov/DeepFaceLab, as ported in deepfakes/faceswap, plugins/train/model/dfl_h128.py.
"""

from dataclasses import dataclass

from lossarium.models.blocks import Autoencoder, check_at_least, check_size, dense_autoencoder


@dataclass(frozen=True)
class DflH128Options:
    """The options of `dfl_h128`."""

    channels: int = 128
    """Channels of the first convolution; the other three have 2, 4 and 8 times as many."""
    encoder_dims: int = 512
    """Width of the dense bottleneck and channels of the code; 256 is the original's low-memory mode."""
    learn_mask: bool = False
    """Whether each decoder has a branch for masks."""
    icnr: bool = True
    """Whether upscaling layers begin with ICNR, without a checkerboard pattern."""

    def __post_init__(self) -> None:
        check_at_least("dfl_h128", 1, channels=self.channels)
        check_at_least("dfl_h128", 4, encoder_dims=self.encoder_dims)


_DEFAULTS = DflH128Options()


def dfl_h128(size: int = 128, identities: int = 2, options: DflH128Options = _DEFAULTS) -> Autoencoder:
    """Four stride-2 convolutions, a dense bottleneck, one upscaling; three more in each decoder.

    107,716,102 parameters for two identities at 128 px. The weights are torch's
    defaults: `lossarium.models.registry.initial_model` draws proper ones.

    Args:
        size: Side of the pictures, a multiple of 16.
        identities: The number of decoders.
        options: The sizes of the layers.

    Raises:
        LossariumError: the size is not a positive multiple of 16, or there are no identities.
    """
    check_size("dfl_h128", size, identities)
    width, dims = options.channels, options.encoder_dims
    return dense_autoencoder(
        size,
        identities,
        encoder=(width, 2 * width, 4 * width, 8 * width),
        dense=dims,
        code=dims,
        upscaled=dims,
        decoder=(dims, dims // 2, dims // 4),
        learn_mask=options.learn_mask,
    )
