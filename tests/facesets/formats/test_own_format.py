"""Lossarium's own facesets: their contents, and every refusal."""

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from lossarium.facesets.folder import load
from tests.facesets.handmade_folders import SIZE, complaint, noise, save, set_entry, write_faceset


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    folder = tmp_path / "rendered"
    write_faceset(folder)
    return folder


def test_a_faceset_brings_its_split_masks_and_states(rendered: Path) -> None:
    loaded = load(rendered, SIZE)
    faceset = loaded.faceset
    assert loaded.notes == ()
    assert faceset.identity == "Ada"
    assert faceset.frame_names == tuple(f"{number:04d}" for number in range(10))
    np.testing.assert_array_equal(faceset.frames, [noise(number) for number in range(10)])
    np.testing.assert_array_equal(np.flatnonzero(faceset.held_out), [7, 8, 9])
    assert faceset.face_masks is not None
    np.testing.assert_array_equal(
        faceset.face_masks, [noise(500 + number, channels=4)[:, :, 0] for number in range(10)]
    )
    assert faceset.states is not None
    assert len(set(faceset.states)) == 10
    # printf '["lossarium 0.1",{"light":[1,2],"yaw":0.0}]' | sha256sum
    assert faceset.states[0] == "dda8c3c8c33f267a906f4f81a4d954285e213c77a382d485eb36f8cbc8191bba"


def test_a_faceset_at_another_size(rendered: Path) -> None:
    loaded = load(rendered, SIZE // 2)
    assert loaded.faceset.face_masks is not None
    expected = noise(500, channels=4)[:, :, 0].reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert np.abs(loaded.faceset.face_masks[0] - expected).max() <= 1
    assert load(rendered, SIZE * 2).notes == (
        "Ada: 10 pictures are smaller than 16 x 16 pixels and are enlarged.",
    )


def test_a_faceset_brings_its_landmarks_in_frame_pixels(rendered: Path) -> None:
    set_entry(rendered / "landmarks.json", lambda t: t["0004"].__setitem__(67, [6.5, 1e300]))
    for size in (SIZE, SIZE // 2):
        landmarks = load(rendered, size).faceset.landmarks
        assert landmarks is not None
        assert landmarks.shape == (10, 68, 2)
        assert landmarks.dtype == np.float32
        # Halves of small whole numbers are exact.
        assert landmarks[3, 5].tolist() == [2.5 * size / SIZE, size / SIZE]
        assert landmarks[4, 67, 0] == 6.5 * size / SIZE
        assert np.isfinite(landmarks).all()


def test_masks_landmarks_and_states_may_be_absent(rendered: Path) -> None:
    for mask in (rendered / "masks").iterdir():
        mask.unlink()
    (rendered / "masks").rmdir()
    (rendered / "landmarks.json").unlink()
    (rendered / "states.json").unlink()
    faceset = load(rendered, SIZE).faceset
    assert faceset.face_masks is None
    assert faceset.landmarks is None
    assert faceset.states is None


def test_a_frame_that_cannot_be_read(rendered: Path) -> None:
    (rendered / "frames" / "0003.webp").write_bytes(b"")
    (rendered / "masks" / "0005.png").write_text("words")
    save(rendered / "frames" / "0008.webp", noise(0, size=6), lossless=True)
    sentence = complaint(rendered)
    assert "3 of 10 pictures" in sentence
    assert "frames/0003.webp (is empty (0 bytes)), masks/0005.png (is not the PNG" in sentence
    assert "frames/0008.webp (is 6 x 6 pixels, but faceset.toml says 8 x 8)" in sentence
    save(rendered / "frames" / "0008.webp", noise(8), lossless=True)
    loaded = load(rendered, SIZE, skip_bad=True)
    assert "0003" not in loaded.faceset.frame_names
    assert loaded.faceset.states is not None
    whole = write_and_load(rendered)
    assert loaded.faceset.states == tuple(whole.states[i] for i in (0, 1, 2, 4, 6, 7, 8, 9))
    np.testing.assert_array_equal(loaded.faceset.face_masks, whole.face_masks[[0, 1, 2, 4, 6, 7, 8, 9]])
    np.testing.assert_array_equal(loaded.faceset.landmarks, whole.landmarks[[0, 1, 2, 4, 6, 7, 8, 9]])
    np.testing.assert_array_equal(np.flatnonzero(loaded.faceset.held_out), [5, 6, 7])


def write_and_load(folder: Path) -> Any:
    write_faceset(folder)
    return load(folder, SIZE).faceset


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("format", ["lossarium faceset 2", 1, None]),
        ("identity", ["", "  ", "two\nlines", 3, None]),
        ("size", [0, -8, 5000, True, "8", 8.0, None]),
        ("frames", [0, 9, 11, "10", None]),
        ("held_out", [[], "0001", [1, 2], ["0001", "0001"], ["0099"], ["../../x"], None]),
        ("seed", ["x", 1.5, None]),
        ("renderer", ["", 1, None]),
        ("licence", ["", 1, None]),
        ("provenance", [1, None]),
    ],
)
def test_a_damaged_manifest_is_refused_by_its_key(rendered: Path, key: str, values: list[Any]) -> None:
    manifest = write_faceset(rendered)
    for value in values:
        damaged = {name: v for name, v in (manifest | {key: value}).items() if v is not None}
        (rendered / "faceset.toml").write_text(tomli_w.dumps(damaged))
        sentence = complaint(rendered)
        assert sentence.startswith(f"{rendered / 'faceset.toml'} is damaged: its key '{key}' "), sentence
        assert sentence.endswith("; render or copy the faceset again.")


def test_manifests_that_are_not_toml_are_refused(rendered: Path, tmp_path: Path) -> None:
    path = rendered / "faceset.toml"
    path.write_text("format = ")
    assert complaint(rendered).startswith(f"{path} is not TOML (")
    path.write_bytes(b"\xff\xfe\0")
    assert complaint(rendered) == f"{path} is not UTF-8 text; render or copy the faceset again."
    path.write_text("a = " + "[" * 5000)
    assert "is not TOML" in complaint(rendered)
    with path.open("wb") as file:
        file.truncate(4 * 2**20 + 1)
    assert "takes more than 4 MiB" in complaint(rendered)
    path.unlink()
    path.mkdir()
    assert "is not a regular file" in complaint(rendered)
    path.rmdir()
    (tmp_path / "outside.toml").write_text("format = 1")
    path.symlink_to(tmp_path / "outside.toml")
    assert "leads out of the folder" in complaint(rendered)


@pytest.mark.parametrize(
    ("file", "key", "change"),
    [
        ("landmarks.json", "0002", lambda t: t.pop("0002")),
        ("landmarks.json", "0002", lambda t: t["0002"].pop()),
        ("landmarks.json", "0002", lambda t: t["0002"][5].append(1)),
        ("landmarks.json", "0002", lambda t: t["0002"][5].__setitem__(0, "1")),
        ("landmarks.json", "0002", lambda t: t["0002"][5].__setitem__(0, 10**400)),
        ("states.json", "0004", lambda t: t.pop("0004")),
        ("states.json", "0004", lambda t: t["0004"].pop("state")),
        ("states.json", "0004", lambda t: t["0004"].update(state=[1])),
        ("states.json", "0004.alignment", lambda t: t["0004"].pop("alignment")),
        ("states.json", "0004.alignment", lambda t: t["0004"].update(alignment=[[1, 2, 3]])),
        ("states.json", "0004.alignment", lambda t: t["0004"].update(alignment=[[1, 2, 3], [1, 2, True]])),
    ],
)
def test_damaged_tables_are_refused_by_their_key(
    rendered: Path, file: str, key: str, change: Callable[[dict[str, Any]], object]
) -> None:
    set_entry(rendered / file, change)
    assert complaint(rendered).startswith(f"{rendered / file} is damaged: its key '{key}' has to ")


@pytest.mark.parametrize("file", ["landmarks.json", "states.json"])
def test_tables_that_are_not_json_are_refused(rendered: Path, file: str) -> None:
    path = rendered / file
    for text in ("{", "[" * 100_000, '{"0000": NaN}', '{"0000": Infinity}', '{"0000": ' + "1" * 5000 + "}"):
        path.write_text(text)
        assert complaint(rendered).startswith(f"{path} is not JSON (")
    path.write_text("[]")
    assert "has to hold a table" in complaint(rendered)
    with path.open("wb") as sparse:
        sparse.truncate(64 * 2**20 + 1)
    assert "takes more than 64 MiB" in complaint(rendered)


def test_a_table_with_a_byte_order_mark_is_read_and_a_mistake_is_told_in_plain_words(rendered: Path) -> None:
    path = rendered / "landmarks.json"
    content = path.read_bytes()
    landmarks = load(rendered, 8).faceset.landmarks
    path.write_bytes(codecs.BOM_UTF8 + content)
    np.testing.assert_array_equal(load(rendered, 8).faceset.landmarks, landmarks)
    path.write_bytes(content[:1])
    assert "is not JSON (in line 1, column 2, a name in double quotes is missing); " in complaint(rendered)


def test_missing_and_misnamed_frames_and_masks_are_refused(rendered: Path) -> None:
    for name in ("0001", "0006"):
        (rendered / "masks" / f"{name}.png").unlink()
    assert complaint(rendered) == (
        f"The faceset {rendered} lacks masks/0001.png, masks/0006.png, though its other frames have masks; "
        "render or copy it again."
    )
    write_faceset(rendered)
    (rendered / "frames" / "0009.webp").unlink()
    assert "'frames' says 10, but frames/ holds 9 .webp files" in complaint(rendered)
    save(rendered / "frames" / "face.webp", noise(3))
    assert "holds face.webp, which is no frame's name such as 0240.webp" in complaint(rendered)
    for path in (rendered / "frames").iterdir():
        path.unlink()
    (rendered / "frames").rmdir()
    assert complaint(rendered) == f"The folder {rendered / 'frames'} does not exist; check its path."


def test_a_split_that_leaves_one_side_empty_is_refused(rendered: Path) -> None:
    manifest = write_faceset(rendered)
    manifest["held_out"] = [f"{number:04d}" for number in range(10)]
    (rendered / "faceset.toml").write_text(tomli_w.dumps(manifest))
    assert "has no usable picture left for training" in complaint(rendered)
    manifest["held_out"] = ["0000"]
    (rendered / "faceset.toml").write_text(tomli_w.dumps(manifest))
    (rendered / "frames" / "0000.webp").write_bytes(b"")
    assert "has no usable picture held out to judge by" in complaint(rendered, skip_bad=True)
