"""Clean pictures, and copies of them that nobody would call faulty."""

import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "camera", "coins")


def faces(count: int, size: int, first: int = 0) -> Tensor:
    """Bundled faces of both identities in turn, (count, 3, size, size), spread over their frames."""
    frames = [
        sorted((Path(str(files("lossarium.facesets"))) / "bundled" / name / "frames").iterdir())
        for name in ("ada", "ben")
    ]
    chosen = [frames[place % 2][(first + 7 * place) % len(frames[0])] for place in range(count)]
    return torch.cat([_picture(Image.open(path), size) for path in chosen])


def photographs(size: int) -> Tensor:
    """Photographs that scikit-image brings, (5, 3, size, size)."""
    return torch.cat([_picture(Image.fromarray(getattr(skimage.data, name)()), size) for name in PHOTOGRAPHS])


def in_8_bits(pictures: Tensor) -> Tensor:
    """As a file keeps them."""
    return (pictures.clamp(0, 1) * 255).round() / 255


def as_jpeg(pictures: Tensor, quality: int) -> Tensor:
    """What a JPEG makes of them."""
    read = []
    for picture in (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        read.append(_tensor(np.asarray(Image.open(file))))
    return torch.cat(read)


def clean_copies(truth: Tensor) -> dict[str, Tensor]:
    """Name -> pictures that differ from the truth as those of good methods do."""
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(truth.shape, generator=source)
    doubled = F.interpolate(truth, scale_factor=2, mode="bicubic")
    return {
        "equal": truth.clone(),
        "a little noise": in_8_bits(truth + 0.01 * noise),
        "noise": in_8_bits(truth + 0.04 * noise),
        "rounding": in_8_bits(truth + (torch.rand(truth.shape, generator=source) - 0.5) / 128),
        "JPEG 95": as_jpeg(truth, 95),
        "JPEG 90": as_jpeg(truth, 90),
        "resampled": in_8_bits(F.avg_pool2d(doubled, 2)),
    }


def _picture(opened: Image.Image, size: int) -> Tensor:
    picture = opened.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return _tensor(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)))


def _tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
