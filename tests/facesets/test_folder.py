"""Folders of pictures and Lossarium's own facesets."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import tomli_w
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets.folder import data_digest, exact_swaps, held_out_blocks, load

if TYPE_CHECKING:
    from lossarium.facesets.faceset import Faceset

SIZE = 8

Manifest = dict[str, Any]


def noise(seed: int, size: int = SIZE, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def save(path: Path, pixels: npt.NDArray[np.uint8], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten different pictures, 0.png to 9.png."""
    folder = tmp_path / "ada"
    for seed in range(10):
        save(folder / f"{seed}.png", noise(seed))
    return folder


def complaint(folder: Path, **options: Any) -> str:
    with pytest.raises(LossariumError) as caught:
        load(folder, SIZE, **options)
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    return sentence


# --- Plain folders ---


def test_a_plain_folder(pictures: Path) -> None:
    loaded = load(pictures, SIZE)
    faceset = loaded.faceset
    assert loaded.notes == ()
    assert faceset.identity == "ada"
    assert faceset.size == SIZE
    assert faceset.frame_names == tuple(f"{i}.png" for i in range(10))
    np.testing.assert_array_equal(faceset.frames, [noise(i) for i in range(10)])
    assert faceset.frames.dtype == np.uint8
    np.testing.assert_array_equal(np.flatnonzero(faceset.held_out), [2, 7])
    assert faceset.face_masks is None
    assert faceset.states is None


def test_pictures_are_found_in_subfolders_in_natural_order(tmp_path: Path) -> None:
    names = [
        "frame_1.PNG",
        "frame_2.png",
        "frame_10.png",
        "frame_010.png",
        "shot 2/a.webp",
        "shot 2/deep/er/b.png",
        "shot 10/a.JPEG",
        "shot 10/b.jfif",
        "shot 10/c.jpe",
        "shot 10/ü.JpG",
    ]
    for seed, name in enumerate(names):
        path = tmp_path / name
        kind = {"webp": "WEBP", "png": "PNG"}.get(name.lower().rsplit(".")[-1], "JPEG")
        save(path, noise(seed), format=kind)
    for passed_over in (".hidden.png", "._frame_1.png", "__MACOSX/x.png", ".git/x.png", "notes.txt", "png"):
        (tmp_path / passed_over).parent.mkdir(exist_ok=True)
        (tmp_path / passed_over).write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    order = [
        "frame_1.PNG",
        "frame_2.png",
        "frame_010.png",
        "frame_10.png",
        "shot 2/a.webp",
        "shot 2/deep/er/b.png",
        "shot 10/a.JPEG",
        "shot 10/b.jfif",
        "shot 10/c.jpe",
        "shot 10/ü.JpG",
    ]
    loaded = load(tmp_path, SIZE)
    assert list(loaded.faceset.frame_names) == order
    assert loaded.notes == ()


def test_a_relative_folder_takes_its_real_name(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert load(Path(), SIZE).faceset.identity == "ada"
    assert data_digest(load(Path(), SIZE).faceset) == data_digest(load(pictures, SIZE).faceset)


def test_what_is_remarkable_is_said_once(pictures: Path) -> None:
    for seed in (20, 21):
        save(pictures / f"{seed}.png", noise(seed, channels=4))
    frames = [Image.fromarray(noise(seed)) for seed in (30, 31)]
    frames[0].save(pictures / "30.webp", save_all=True, append_images=frames[1:], lossless=True)
    save(pictures / "40.png", noise(40, size=12)[:9])
    save(pictures / "50.png", noise(50, size=4))
    save(pictures / "51.png", noise(51, size=5))
    loaded = load(pictures, SIZE)
    assert loaded.notes == (
        "ada: 2 pictures have transparency; it is laid on mid-grey.",
        "ada: 1 picture is an animation; its first frame is used.",
        "ada: 1 picture is not square; its centre square is used.",
        "ada: 2 pictures are smaller than 8 x 8 pixels and are enlarged.",
    )
    assert loaded.faceset.frames.shape == (16, SIZE, SIZE, 3)


def test_progress_is_told(pictures: Path) -> None:
    (pictures / "bad.png").write_bytes(b"")
    told: list[tuple[int, int]] = []
    load(pictures, SIZE, skip_bad=True, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 11) for done in range(1, 12)]


def test_an_interrupt_comes_through(pictures: Path) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(pictures, SIZE, progress=interrupt)


# --- Refusals ---


def test_missing_and_empty_folders(tmp_path: Path, pictures: Path) -> None:
    missing = tmp_path / "nowhere"
    assert complaint(missing) == f"The folder {missing} does not exist; check its path."
    file = pictures / "0.png"
    assert complaint(file) == f"{file} is not a folder; give the folder that holds the pictures."
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("words")
    assert complaint(empty) == (
        f"The folder {empty} holds no pictures; names that end in .jpg, .jpeg, .jpe, .jfif, .png or .webp "
        "are looked for, in subfolders too."
    )
    assert "cannot be read: file name too long" in complaint(tmp_path / ("x" * 300))
    assert "cannot be read: embedded null" in complaint(Path("a\0b")).replace("character", "byte")


def test_unreadable_pictures_are_all_listed_or_skipped(pictures: Path) -> None:
    whole = (pictures / "3.png").read_bytes()
    (pictures / "sub").mkdir()
    (pictures / "sub" / "text.png").write_text("words")
    assert complaint(pictures) == (
        f"1 of 11 pictures in {pictures} cannot be read: sub/text.png (holds no picture although its name "
        "ends in .png); mend or remove it, or skip it with --skip-bad."
    )
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "cut.png").write_bytes(whole[:60])
    listing = (
        "cut.png (ends early: its picture data is cut off), empty.jpg (is empty (0 bytes)), "
        "sub/text.png (holds no picture although its name ends in .png)"
    )
    assert complaint(pictures) == (
        f"3 of 13 pictures in {pictures} cannot be read: {listing}; "
        "mend or remove them, or skip them with --skip-bad."
    )
    loaded = load(pictures, SIZE, skip_bad=True)
    assert loaded.notes == (f"ada: 3 of 13 pictures cannot be read and are skipped: {listing}.",)
    np.testing.assert_array_equal(loaded.faceset.frames, [noise(i) for i in range(10)])
    # The split is that of the pictures that are left.
    np.testing.assert_array_equal(loaded.faceset.held_out, held_out_blocks(10))

    for number in range(20):
        (pictures / f"zero {number}.webp").write_bytes(b"")
    sentence = complaint(pictures)
    assert sentence.startswith(f"23 of 33 pictures in {pictures} cannot be read: cut.png (")
    assert "zero 6.webp (is empty (0 bytes)) and 13 more; mend" in sentence
    assert "zero 7.webp" not in sentence


def test_fewer_than_eight_pictures(tmp_path: Path) -> None:
    for seed in range(7):
        save(tmp_path / f"{seed}.png", noise(seed))
    needed = "at least 8 are needed."
    assert complaint(tmp_path) == f"The folder {tmp_path} holds only 7 usable pictures; {needed}"
    (tmp_path / "bad.png").write_bytes(b"")
    assert (
        complaint(tmp_path, skip_bad=True) == f"The folder {tmp_path} holds only 7 usable pictures; {needed}"
    )
    for seed in range(1, 7):
        (tmp_path / f"{seed}.png").unlink()
    assert "holds only 1 usable picture;" in complaint(tmp_path, skip_bad=True)
    save(tmp_path / "bad.png", noise(99))
    for seed in range(1, 7):
        save(tmp_path / f"{seed}.png", noise(seed))
    assert len(load(tmp_path, SIZE).faceset.frames) == 8


def test_links_do_not_lead_out_of_the_folder(pictures: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "secret.png", noise(77))
    (pictures / "tree").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(load(pictures, SIZE).faceset.frames) == 10

    (pictures / "z1.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (pictures / "z2.png").symlink_to(tmp_path / "gone.png")
    (pictures / "z3.png").symlink_to(pictures / "z3.png")
    listing = (
        "z1.png (is a link that leads out of the folder), z2.png (is a link that leads nowhere), "
        "z3.png (is a link that leads nowhere)"
    )
    assert listing in complaint(pictures)

    for name in ("z1.png", "z2.png", "z3.png"):
        (pictures / name).unlink()
    save(pictures / ".store" / "10.png", noise(10))
    (pictures / "10.png").symlink_to(Path(".store", "10.png"))
    # A folder that is itself reached through a link is fine.
    (tmp_path / "ben").symlink_to(pictures, target_is_directory=True)
    assert len(load(tmp_path / "ben", SIZE).faceset.frames) == 11


DENIED = """
import os, sys
from pathlib import Path
# Everything is imported first: the user that is left may not read the library's own files.
from lossarium.errors import LossariumError
from lossarium.facesets.folder import load
import PIL.ImageCms, PIL.PngImagePlugin
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for folder in sys.argv[1:]:
    try:
        load(Path(folder), 8)
    except LossariumError as error:
        print(error)
    else:
        print("was read")
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_no_permission(open_to_all: Path) -> None:
    folders = {name: open_to_all / name for name in ("closed", "unlisted", "no entry", "sub", "file")}
    for folder in folders.values():
        for seed in range(9):
            save(folder / f"{seed}.png", noise(seed))
    save(folders["sub"] / "inner" / "x.png", noise(50))
    denied = [
        (folders["closed"], 0o000, 0o755),
        (folders["unlisted"], 0o311, 0o755),
        (folders["no entry"], 0o644, 0o755),
        (folders["sub"] / "inner", 0o000, 0o755),
        (folders["file"] / "4.png", 0o000, 0o644),
    ]
    for path, mode, _ in denied:
        path.chmod(mode)
    try:
        run = subprocess.run(
            [sys.executable, "-c", DENIED, *map(str, folders.values())],
            capture_output=True,
            text=True,
            check=False,
            cwd=open_to_all,
        )
    finally:
        for path, _, mode in denied:
            path.chmod(mode)
    assert run.stderr == ""
    advice = "cannot be read: permission denied; allow it or move the pictures."
    assert run.stdout.splitlines() == [
        f"The folder {folders['closed']} {advice}",
        f"The folder {folders['unlisted']} {advice}",
        f"The folder {folders['no entry']} {advice}",
        f"The folder {folders['sub'] / 'inner'} {advice}",
        f"1 of 9 pictures in {folders['file']} cannot be read: 4.png (cannot be opened: permission denied); "
        "mend or remove it, or skip it with --skip-bad.",
    ]


def test_awkward_names(pictures: Path) -> None:
    os.rename(pictures / "0.png", os.fsencode(pictures) + b"/caf\xe9\n.png")  # noqa: PTH104 - a name of bytes
    faceset = load(pictures, SIZE).faceset
    assert "caf\\udce9\\n.png" in faceset.frame_names
    (pictures / "bad\n.png").write_bytes(b"")
    assert "bad\\n.png (is empty" in complaint(pictures)


# --- The split ---


def test_held_out_blocks() -> None:
    np.testing.assert_array_equal(np.flatnonzero(held_out_blocks(8)), [2, 7])
    large = held_out_blocks(300)
    assert large.dtype == np.bool_
    assert large.sum() == 60
    np.testing.assert_array_equal(np.flatnonzero(large)[:12], range(24, 36))
    assert held_out_blocks(0).shape == (0,)
    for count in range(8, 400):
        held_out = held_out_blocks(count)
        assert held_out.shape == (count,)
        assert 0.1 <= held_out.mean() <= 0.3, count
        # Few borders, where a neighbour of a held-out frame is trained on.
        assert np.count_nonzero(np.diff(held_out)) <= 10


def test_training_copies_of_held_out_pictures_are_left_out(pictures: Path) -> None:
    for name in ("0.png", "9.png"):
        save(pictures / name, noise(7))
    loaded = load(pictures, SIZE)
    assert loaded.notes == (
        "ada: 2 training pictures equal held-out ones pixel by pixel and are left out of training.",
    )
    assert loaded.faceset.frame_names == tuple(f"{i}.png" for i in range(1, 9))
    np.testing.assert_array_equal(np.flatnonzero(loaded.faceset.held_out), [1, 6])
    np.testing.assert_array_equal(loaded.faceset.frames, [noise(i) for i in range(1, 9)])

    # Copies on one side of the split are the user's choice.
    save(pictures / "0.png", noise(1))
    save(pictures / "9.png", noise(1))
    save(pictures / "2.png", noise(7))
    assert load(pictures, SIZE).notes == ()

    for name in ("0.png", "1.png", "9.png"):
        save(pictures / name, noise(7))
    assert complaint(pictures) == (
        f"The folder {pictures} holds only 7 usable pictures without the 3 training pictures that equal "
        "held-out ones pixel by pixel; at least 8 are needed."
    )


# --- Lossarium's own facesets ---


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


def test_masks_landmarks_and_states_may_be_absent(rendered: Path) -> None:
    for mask in (rendered / "masks").iterdir():
        mask.unlink()
    (rendered / "masks").rmdir()
    (rendered / "landmarks.json").unlink()
    (rendered / "states.json").unlink()
    faceset = load(rendered, SIZE).faceset
    assert faceset.face_masks is None
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


def test_manifests_that_are_no_toml(rendered: Path, tmp_path: Path) -> None:
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


def set_entry(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


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
def test_tables_that_are_no_json(rendered: Path, file: str) -> None:
    path = rendered / file
    for text in ("{", "[" * 100_000, '{"0000": NaN}', '{"0000": Infinity}', '{"0000": ' + "1" * 5000 + "}"):
        path.write_text(text)
        assert complaint(rendered).startswith(f"{path} is not JSON (")
    path.write_text("[]")
    assert "has to hold a table" in complaint(rendered)
    with path.open("wb") as sparse:
        sparse.truncate(64 * 2**20 + 1)
    assert "takes more than 64 MiB" in complaint(rendered)


def test_frames_and_masks_that_are_missing_or_odd(rendered: Path) -> None:
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


def test_a_split_that_leaves_one_side_empty(rendered: Path) -> None:
    manifest = write_faceset(rendered)
    manifest["held_out"] = [f"{number:04d}" for number in range(10)]
    (rendered / "faceset.toml").write_text(tomli_w.dumps(manifest))
    assert "has no usable picture left for training" in complaint(rendered)
    manifest["held_out"] = ["0000"]
    (rendered / "faceset.toml").write_text(tomli_w.dumps(manifest))
    (rendered / "frames" / "0000.webp").write_bytes(b"")
    assert "has no usable picture held out to judge by" in complaint(rendered, skip_bad=True)


# --- What facesets are compared by ---


def test_exact_swaps(tmp_path: Path) -> None:
    write_faceset(tmp_path / "a", seed=1)
    manifest = write_faceset(tmp_path / "b", seed=2, frames=12)
    # b holds out frames 5, 8 and 9 and gives 9 the state that a's frame 7 has.
    manifest["held_out"] = ["0009", "0005", "0008"]
    (tmp_path / "b" / "faceset.toml").write_text(tomli_w.dumps(manifest))
    set_entry(tmp_path / "b" / "states.json", lambda t: t["0009"]["state"].update(yaw=0.7))
    a, b = load(tmp_path / "a", SIZE).faceset, load(tmp_path / "b", SIZE).faceset
    np.testing.assert_array_equal(np.flatnonzero(a.held_out), [7, 8, 9])
    # State 0.7 is b's 7, trained on, and b's 9, held out; 0.9 is nowhere in b any more.
    swaps = exact_swaps(a, b)
    np.testing.assert_array_equal(swaps, [9, 8, -1])
    assert swaps.dtype == np.intp
    np.testing.assert_array_equal(exact_swaps(b, a), [-1, 8, 7])
    np.testing.assert_array_equal(exact_swaps(a, replace(b, states=None)), [-1, -1, -1])
    np.testing.assert_array_equal(exact_swaps(replace(a, states=None), b), [-1, -1, -1])


def test_another_renderer_makes_no_exact_swaps(tmp_path: Path) -> None:
    write_faceset(tmp_path / "a")
    manifest = write_faceset(tmp_path / "b")
    (tmp_path / "b" / "faceset.toml").write_text(tomli_w.dumps(manifest | {"renderer": "lossarium 0.2"}))
    a, b = load(tmp_path / "a", SIZE).faceset, load(tmp_path / "b", SIZE).faceset
    np.testing.assert_array_equal(exact_swaps(a, b), [-1, -1, -1])


def test_data_digest_knows_every_change(rendered: Path) -> None:
    faceset = load(rendered, SIZE).faceset
    digest = data_digest(faceset)
    assert len(bytes.fromhex(digest)) == 32
    assert data_digest(load(rendered, SIZE).faceset) == digest
    assert data_digest(replace(faceset, identity="Ben")) == digest
    assert faceset.face_masks is not None
    assert faceset.states is not None

    def changed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        other = array.copy()
        other.flat[-1] = not other.flat[-1] if other.dtype == np.bool_ else other.flat[-1] ^ 1
        return other

    others: list[Faceset] = [
        replace(faceset, frames=changed(faceset.frames)),
        replace(faceset, frames=faceset.frames.reshape(10, 8, 8, 3)[:, ::-1]),
        replace(faceset, frame_names=(*faceset.frame_names[:-1], "x")),
        replace(faceset, held_out=changed(faceset.held_out)),
        replace(faceset, face_masks=changed(faceset.face_masks)),
        replace(faceset, face_masks=None),
        replace(faceset, states=(*faceset.states[:-1], "x")),
        replace(faceset, states=None),
        load(rendered, SIZE * 2).faceset,
    ]
    assert len({digest, *map(data_digest, others)}) == 1 + len(others)
