"""Plain folders: the pictures found in them, the notes, and every refusal."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossarium.facesets.faceset import data_digest
from lossarium.facesets.folder import load
from lossarium.facesets.split import spread_out
from tests.facesets.handmade_folders import SIZE, complaint, noise, save, write_faceset


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten different pictures, 0.png to 9.png."""
    folder = tmp_path / "ada"
    for seed in range(10):
        save(folder / f"{seed}.png", noise(seed))
    return folder


def test_a_plain_folder(pictures: Path) -> None:
    loaded = load(pictures, SIZE)
    faceset = loaded.faceset
    assert loaded.notes == ()
    assert faceset.identity == "ada"
    assert faceset.size == SIZE
    assert faceset.frame_names == tuple(f"{i}.png" for i in range(10))
    np.testing.assert_array_equal(faceset.frames, [noise(i) for i in range(10)])
    assert faceset.frames.dtype == np.uint8
    np.testing.assert_array_equal(np.flatnonzero(faceset.held_out), [4, 5])
    np.testing.assert_array_equal(np.flatnonzero(faceset.trained), [0, 1, 2, 7, 8, 9])
    assert faceset.blocks == ("block 1", "block 1")
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


def test_remarks_on_pictures_are_reported_once(pictures: Path) -> None:
    for seed in (20, 21):
        save(pictures / f"{seed}.png", noise(seed, channels=4))
    frames = [Image.fromarray(noise(seed)) for seed in (30, 31)]
    frames[0].save(pictures / "30.webp", save_all=True, append_images=frames[1:], lossless=True)
    save(pictures / "40.png", noise(40, size=12)[:9])
    save(pictures / "50.png", noise(50, size=4))
    save(pictures / "51.png", noise(51, size=5))
    loaded = load(pictures, SIZE)
    assert loaded.notes == (
        "ada: 2 pictures have transparency; they are composited on mid-grey.",
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


def test_an_interrupt_is_not_swallowed(pictures: Path) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(pictures, SIZE, progress=interrupt)


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
        "ends in .png); fix or remove it, or skip it with --skip-bad."
    )
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "cut.png").write_bytes(whole[:60])
    listing = (
        "cut.png (ends early: its picture data is cut off), empty.jpg (is empty (0 bytes)), "
        "sub/text.png (holds no picture although its name ends in .png)"
    )
    assert complaint(pictures) == (
        f"3 of 13 pictures in {pictures} cannot be read: {listing}; "
        "fix or remove them, or skip them with --skip-bad."
    )
    loaded = load(pictures, SIZE, skip_bad=True)
    assert loaded.notes == (f"ada: 3 of 13 pictures cannot be read and are skipped: {listing}.",)
    np.testing.assert_array_equal(loaded.faceset.frames, [noise(i) for i in range(10)])
    # The split is that of the pictures that are left.
    split = spread_out(loaded.faceset.frame_names)
    np.testing.assert_array_equal(loaded.faceset.held_out, split.held_out)
    np.testing.assert_array_equal(loaded.faceset.left_out, split.left_out)

    for number in range(20):
        (pictures / f"zero {number}.webp").write_bytes(b"")
    sentence = complaint(pictures)
    assert sentence.startswith(f"23 of 33 pictures in {pictures} cannot be read: cut.png (")
    assert "zero 6.webp (is empty (0 bytes)) and 13 more; fix" in sentence
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
    loaded = load(pictures, SIZE)
    assert len(loaded.faceset.frames) == 10
    assert loaded.notes == (
        "ada: 1 linked folder is not followed (tree); with --follow-links they are read, too.",
    )

    (pictures / "z1.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (pictures / "z2.png").symlink_to(tmp_path / "gone.png")
    (pictures / "z3.png").symlink_to(pictures / "z3.png")
    listing = (
        "z1.png (is a link that leads out of the folder), z2.png (is a broken link), "
        "z3.png (is a broken link)"
    )
    assert listing in complaint(pictures)

    for name in ("z1.png", "z2.png", "z3.png"):
        (pictures / name).unlink()
    save(pictures / ".store" / "10.png", noise(10))
    (pictures / "10.png").symlink_to(Path(".store", "10.png"))
    # A folder that is itself reached through a link is fine.
    (tmp_path / "ben").symlink_to(pictures, target_is_directory=True)
    assert len(load(tmp_path / "ben", SIZE).faceset.frames) == 11


def test_links_are_followed_on_request_and_each_file_is_read_once(pictures: Path, tmp_path: Path) -> None:
    for seed in range(10, 14):
        save(tmp_path / "elsewhere" / "deep" / f"{seed}.png", noise(seed))
    save(tmp_path / "single.png", noise(14))
    (tmp_path / "elsewhere" / "deep" / "back").symlink_to(pictures, target_is_directory=True)
    (pictures / "tree").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (pictures / "twice").symlink_to(tmp_path / "elsewhere" / "deep", target_is_directory=True)
    (pictures / "loop").symlink_to(pictures, target_is_directory=True)
    (pictures / "y.png").symlink_to(tmp_path / "single.png")
    (pictures / "z.png").symlink_to(pictures / "3.png")
    (pictures / "gone").symlink_to(tmp_path / "nowhere", target_is_directory=True)
    (pictures / "circle").symlink_to(pictures / "circle")
    loaded = load(pictures, SIZE, follow_links=True)
    own = [f"{seed}.png" for seed in range(10)]
    linked = [f"tree/deep/{seed}.png" for seed in range(10, 14)]
    assert list(loaded.faceset.frame_names) == [*own, *linked, "y.png"]
    np.testing.assert_array_equal(loaded.faceset.frames, [noise(seed) for seed in range(15)])
    assert loaded.notes == (
        "ada: 2 links lead nowhere or to something unreadable (circle, gone).",
        "ada: 4 links lead to files that are read already (loop, tree/deep/back, twice, z.png).",
    )
    cached = load(pictures, SIZE, follow_links=True, cache=tmp_path / "cache")
    assert data_digest(cached.faceset) == data_digest(loaded.faceset)


def test_linked_masks_and_frames_of_other_formats_are_followed(tmp_path: Path) -> None:
    for seed in range(10):
        save(tmp_path / "ada" / f"{seed}.png", noise(seed))
        save(tmp_path / "masks of ada" / f"{seed}.png", noise(100 + seed)[..., 0])
    (tmp_path / "ada" / "masks").symlink_to(tmp_path / "masks of ada", target_is_directory=True)
    assert load(tmp_path / "ada", SIZE).faceset.face_masks is None
    assert load(tmp_path / "ada", SIZE, follow_links=True).faceset.face_masks is not None

    write_faceset(tmp_path / "own")
    (tmp_path / "own" / "frames").rename(tmp_path / "frames of own")
    (tmp_path / "own" / "frames").symlink_to(tmp_path / "frames of own", target_is_directory=True)
    assert "is a link that leads out of the folder" in complaint(tmp_path / "own")
    assert len(load(tmp_path / "own", SIZE, follow_links=True).faceset.frames) == 10


def test_a_folder_of_nothing_but_links_says_so(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "1.png", noise(1))
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "tree").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert "; 1 linked folder is not followed (tree); with --follow-links" in complaint(tmp_path / "ada")


@pytest.fixture
def deep(pictures: Path) -> Iterator[Path]:
    """The pictures' folder, with 1,500 folders in one another; longer than a path may be, so step by step."""
    place = os.open(pictures, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    yield pictures
    # Removed step by step: shutil recurses and would fail.
    while (pictures / "d").exists():
        (pictures / "d").rename(pictures / "x")
        if (pictures / "x" / "d").exists():
            (pictures / "x" / "d").rename(pictures / "d")
        (pictures / "x").rmdir()


@pytest.mark.parametrize("follow_links", [False, True])
def test_folders_nested_too_deep_are_refused(deep: Path, follow_links: bool) -> None:
    assert complaint(deep, follow_links=follow_links) == (
        f"The folder {deep} holds folders nested more than 100 deep; move the pictures up, or give the "
        "folder that they are in."
    )


def test_a_folder_whose_pictures_repeat_says_so(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / "ada" / f"{number}.png", noise(number % 2))
    assert complaint(tmp_path / "ada") == (
        f"The folder {tmp_path / 'ada'} has no usable picture left for training: its 40 pictures are copies "
        "of 2, so that 24 training pictures equal held-out ones pixel by pixel; add pictures that differ "
        "from one another."
    )


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
        "fix or remove it, or skip it with --skip-bad.",
    ]


def test_awkward_names(pictures: Path) -> None:
    os.rename(pictures / "0.png", os.fsencode(pictures) + b"/caf\xe9\n.png")  # noqa: PTH104 - a name of bytes
    faceset = load(pictures, SIZE).faceset
    assert "caf\\udce9\\n.png" in faceset.frame_names
    (pictures / "bad\n.png").write_bytes(b"")
    assert "bad\\n.png (is empty" in complaint(pictures)


def test_training_copies_of_held_out_pictures_are_left_out(pictures: Path) -> None:
    # Of these ten, 4 and 5 are held out, and 3 and 6 are beside them.
    for name in ("0.png", "9.png"):
        save(pictures / name, noise(4))
    loaded = load(pictures, SIZE)
    assert loaded.notes == (
        "ada: 2 training pictures equal held-out ones pixel by pixel and are left out of training.",
    )
    assert loaded.faceset.frame_names == tuple(f"{i}.png" for i in range(1, 9))
    np.testing.assert_array_equal(np.flatnonzero(loaded.faceset.held_out), [3, 4])
    np.testing.assert_array_equal(loaded.faceset.frames, [noise(i) for i in range(1, 9)])

    # Copies on one side of the split are the user's choice. Frames that are not used may be copies.
    save(pictures / "0.png", noise(1))
    save(pictures / "9.png", noise(1))
    save(pictures / "5.png", noise(4))
    save(pictures / "6.png", noise(4))
    assert load(pictures, SIZE).notes == ()

    for name in ("0.png", "1.png", "9.png"):
        save(pictures / name, noise(4))
    assert complaint(pictures) == (
        f"The folder {pictures} holds only 7 usable pictures without the 3 training pictures that equal "
        "held-out ones pixel by pixel; at least 8 are needed."
    )


def _fill(folder: Path) -> None:
    for seed in range(10):
        save(folder / f"{seed}.png", noise(seed))


def test_a_folder_called_masks_alone_is_read(tmp_path: Path) -> None:
    _fill(tmp_path / "masks")
    assert len(load(tmp_path, SIZE).faceset.frames) == 10


def test_a_folder_of_facesets_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path / "ada" / "frames")
    (tmp_path / "ada" / "faceset.toml").touch()
    sentence = complaint(tmp_path)
    assert f"holds the whole faceset {tmp_path / 'ada'}" in sentence
    assert "give that folder itself" in sentence
