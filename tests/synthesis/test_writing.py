"""Writing facesets with the command."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.synthesis.identities import named_identities
from lossarium.synthesis.rendering import align
from lossarium.synthesis.states import sample_state, state_from_json
from lossarium.synthesis.writing import Synthesis, default_held_out, synthesize

from .conftest import run_command

NAMES = ["0000", "0001", "0002", "0003"]


@pytest.mark.long
def test_manifest(synthesized: Path) -> None:
    manifest = tomllib.loads((synthesized / "ben/faceset.toml").read_text(encoding="utf-8"))
    assert manifest["format"] == "lossarium faceset 1"
    assert manifest["identity"] == "ben"
    assert (manifest["size"], manifest["frames"], manifest["seed"]) == (64, 4, 7)
    assert manifest["held_out"] == ["0002", "0003"]
    assert manifest["renderer"].startswith("lossarium.facesets.synthetic ")
    assert manifest["licence"].startswith("CC0-1.0")
    assert "MakeHuman" in manifest["provenance"]
    assert "Mika Suominen" in manifest["provenance"]
    assert "nobody's likeness" in manifest["provenance"]
    assert manifest["identity_parameters"]["seed"] == named_identities()["ben"].seed


@pytest.mark.long
def test_folder_holds_what_the_format_says_and_nothing_else(synthesized: Path) -> None:
    assert sorted(path.name for path in synthesized.iterdir()) == ["ada", "ben"]
    for name in ("ada", "ben"):
        folder = synthesized / name
        entries = sorted(path.name for path in folder.iterdir())
        assert entries == ["faceset.toml", "frames", "landmarks.json", "masks", "states.json"]
        assert sorted(path.name for path in (folder / "frames").iterdir()) == [f"{n}.webp" for n in NAMES]
        assert sorted(path.name for path in (folder / "masks").iterdir()) == [f"{n}.png" for n in NAMES]
        with (
            Image.open(folder / "frames/0001.webp") as picture,
            Image.open(folder / "masks/0001.png") as masks,
        ):
            assert (picture.mode, picture.size) == ("RGB", (64, 64))
            assert (masks.mode, masks.size) == ("RGBA", (64, 64))
        landmarks = json.loads((folder / "landmarks.json").read_text(encoding="utf-8"))
        assert list(landmarks) == NAMES
        assert np.asarray(list(landmarks.values())).shape == (4, 68, 2)


@pytest.mark.long
def test_states_of_a_pair_are_the_same_json(synthesized: Path) -> None:
    ada, ben = (
        json.loads((synthesized / name / "states.json").read_text(encoding="utf-8"))
        for name in ("ada", "ben")
    )
    assert list(ada) == NAMES
    for number, name in enumerate(NAMES):
        assert json.dumps(ada[name]["state"]) == json.dumps(ben[name]["state"])
        assert state_from_json(ada[name]["state"]) == sample_state(7, number)
        assert np.asarray(ada[name]["alignment"]).shape == (2, 3)
        assert ada[name]["alignment"] != ben[name]["alignment"]


@pytest.mark.long
def test_one_worker_writes_the_same_bytes_as_two(synthesized: Path, tmp_path: Path) -> None:
    synthesis = Synthesis((named_identities()["ben"],), frames=4, size=64, seed=7, held_out=2)
    reports: list[tuple[str, int, int]] = []
    (folder,) = synthesize(synthesis, tmp_path, workers=1, report=lambda *words: reports.append(words))
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 11
    for file in files:
        assert (folder / file).read_bytes() == (synthesized / "ben" / file).read_bytes(), file
    assert ("baking identities", 1, 1) in reports
    assert reports[-1] == ("rendering frames", 4, 4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--frames", "0"], "0 frames"),
        (["--size", "31"], "from 32 to 1024"),
        (["--size", "2000"], "from 32 to 1024"),
        (["--frames", "5", "--held-out", "5"], "hold out from 0 to 4"),
        (["--seed", "-1"], "0 or more"),
        (["--workers", "0"], "1 or more"),
        (["--identities", "adda"], "known ones are ada, "),
    ],
)
def test_refusals(tmp_path: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(LossariumError, match=sentence):
        run_command("synthesize", str(tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


def test_existing_faceset_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "mine.txt").write_text("mine")
    with pytest.raises(LossariumError, match="exists already"):
        run_command("synthesize", str(tmp_path), "--identities", "ben,ada")
    assert [path.name for path in tmp_path.iterdir()] == ["ada"]


def test_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LossariumError, match="cannot be written to"):
        run_command("synthesize", str(tmp_path / "file" / "out"), "--workers", "1")


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        assert any((tmp_path / "out").iterdir())
        raise KeyboardInterrupt

    synthesis = Synthesis((named_identities()["ada"],), frames=2, size=64, seed=7, held_out=0)
    with pytest.raises(KeyboardInterrupt):
        synthesize(synthesis, tmp_path / "out", workers=1, report=interrupt)
    assert not (tmp_path / "out").exists()


def test_the_last_fifth_is_held_out_by_default() -> None:
    assert [default_held_out(frames) for frames in (1, 2, 9, 10, 300)] == [0, 1, 1, 2, 60]


def test_alignment_scales_with_the_size() -> None:
    landmarks = np.random.default_rng(1).normal(size=(68, 2))
    crop = sample_state(7, 1).crop
    # Doubling is exact.
    np.testing.assert_array_equal(align(landmarks, crop, 256), 2 * align(landmarks, crop, 128))
