"""Augmentation as text: `default`, `faceswap(flip=0)`, `none`."""

from dataclasses import asdict, replace

from lossarium.errors import LossariumError
from lossarium.facesets.batches.amount import FACESWAP, Augmentation
from lossarium.text.suggestions import nearest
from lossarium.training.options.syntax import read_call

_PRESETS = {
    "default": Augmentation(),
    "faceswap": FACESWAP,
    "none": Augmentation(rotation=0, zoom=0, shift=0, flip=0, warp=0, brightness=0, contrast=0, tint=0),
}


def parse(text: str) -> Augmentation:
    """Read the name of a preset, with options that override its own.

    Raises:
        LossariumError: there is no such preset or option, or a value is out of its range.

    >>> parse("faceswap(flip=0)").flip
    0.0
    """
    call = read_call(text, "augmentation")
    if call.name not in _PRESETS:
        raise call.error(f"there is no such augmentation, {nearest(call.name, tuple(_PRESETS))}")
    preset = _PRESETS[call.name]
    changes = call.values(asdict(preset))
    try:
        return replace(preset, **changes)
    except LossariumError as error:
        raise call.error(str(error)) from None
