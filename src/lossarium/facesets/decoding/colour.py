"""Convert stored colours to sRGB by their colour profile."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
"""Larger colour profiles are ignored; the largest in use, those of printing presses, take 3 MB."""


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Convert a picture of mode L, RGB or CMYK; an unusable profile is ignored.

    Returns:
        The picture in mode RGB, and whether the profile changed any colour.
    """
    if profile and len(profile) <= MAX_PROFILE_BYTES:
        # A grey picture often has the profile of the colour picture that it was made from.
        for coloured in (image, image.convert("RGB")) if image.mode == "L" else (image,):
            if not _is_srgb(profile, coloured.mode):
                converted = _converted(coloured, profile)
                if converted is not None:
                    return converted, True
    # convert() would copy a picture that is already RGB.
    return image if image.mode == "RGB" else image.convert("RGB"), False


@functools.lru_cache(maxsize=32)
def _is_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile is sRGB, by its effect: it changes no colour by more than rounding.

    There are dozens of sRGB profiles under different names, so that neither name nor bytes can tell.
    """
    if mode == "CMYK":
        return False
    probe = _probe_colours(mode)
    seen = _converted(probe, profile)
    if seen is None:
        return False
    change = np.asarray(seen, np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return bool(np.abs(change).max() <= 2)


def _probe_colours(mode: str) -> Image.Image:
    """All 256 greys, or an even grid of 9 x 9 x 9 colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB, or None if the profile is damaged or made for another colour mode."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(embedded.profile.xcolor_space) != image.mode:
            return None
        transform = ImageCms.ImageCmsTransform(
            embedded,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform.apply(image)
    except MemoryError:
        raise
    # A broken profile does not make the picture unusable. Pillow raises OSError, ValueError and more.
    except Exception:
        return None
