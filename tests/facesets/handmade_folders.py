"""Small folders of pictures, and facesets in Lossarium's own format, on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tomli_w
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets.folder import load

SIZE = 8

Manifest = dict[str, Any]


def noise(seed: int, size: int = SIZE, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def save(path: Path, pixels: npt.NDArray[np.uint8], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def complaint(folder: Path, **options: Any) -> str:
    with pytest.raises(LossariumError) as caught:
        load(folder, SIZE, **options)
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    return sentence


def write_faceset(folder: Path, *, seed: int = 0, frames: int = 10, size: int = SIZE) -> Manifest:
    names = [f"{number:04d}" for number in range(frames)]
    for number, name in enumerate(names):
        save(folder / "frames" / f"{name}.webp", noise(1000 * seed + number, size), lossless=True)
        save(folder / "masks" / f"{name}.png", noise(1000 * seed + 500 + number, size, channels=4))
    manifest = {
        "format": "lossarium faceset 1",
        "identity": "Ada",
        "size": size,
        "frames": frames,
        "held_out": names[-3:],
        "seed": 7,
        "renderer": "lossarium 0.1",
        "licence": "CC0-1.0",
        "provenance": "rendered by a test",
        "camera": {"focal_length": 50},
    }
    (folder / "faceset.toml").write_text(tomli_w.dumps(manifest))
    landmarks = {name: [[0.5 * i, 1] for i in range(68)] for name in names}
    (folder / "landmarks.json").write_text(json.dumps(landmarks))
    states = {
        name: {"state": {"yaw": number / 10, "light": [1, 2]}, "alignment": [[1, 0, 0.5], [0, 1, -2]]}
        for number, name in enumerate(names)
    }
    (folder / "states.json").write_text(json.dumps(states))
    return manifest


def set_entry(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
