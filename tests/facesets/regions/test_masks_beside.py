"""Mask files: which mask belongs to which picture, and how it is read."""

from pathlib import Path, PurePath

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.facesets import frames
from lossarium.facesets.faceset import data_digest
from lossarium.facesets.folder import load
from lossarium.facesets.formats.stored_face import StoredFace, StoredMask
from lossarium.facesets.regions.masks_beside import masks_of
from tests.facesets.handmade_folders import SIZE, complaint, noise, save


def grey(seed, size=SIZE):
    return noise(1000 + seed, size)[..., 0]


def fill(folder, *, suffix=".png", masks=None, mask_ending=".png"):
    """Ten pictures, and a mask for each in a folder if there is one."""
    for seed in range(10):
        save(folder / f"{seed}{suffix}", noise(seed))
        if masks is not None:
            save(masks / f"{seed}{mask_ending}", grey(seed))


@pytest.mark.parametrize(
    ("at", "suffix", "mask_ending"),
    [("", ".png", ".png"), ("", ".webp", ".png"), ("", ".jpg", ".jpg.png"), ("frames", ".png", ".png")],
)
def test_masks_are_no_frames_but_say_where_the_face_is(tmp_path, at, suffix, mask_ending):
    fill(tmp_path / at, suffix=suffix, masks=tmp_path / "masks", mask_ending=mask_ending)
    loaded = load(tmp_path, SIZE)
    names = tuple(PurePath(at, f"{seed}{suffix}").as_posix() for seed in range(10))
    assert loaded.faceset.frame_names == names
    np.testing.assert_array_equal(loaded.faceset.face_masks, [grey(seed) for seed in range(10)])
    assert loaded.notes == (
        f"{loaded.faceset.identity}: 10 pictures have their face masks in the folder masks.",
    )
    cached = load(tmp_path, SIZE, cache=tmp_path.parent / f"{tmp_path.name}-cache")
    assert data_digest(cached.faceset) == data_digest(loaded.faceset)
    assert cached.notes == loaded.notes


def test_masks_follow_subfolders(tmp_path):
    fill(tmp_path / "shot", masks=tmp_path / "masks" / "shot")
    np.testing.assert_array_equal(load(tmp_path, SIZE).faceset.face_masks, [grey(seed) for seed in range(10)])


def test_no_mask_is_used_where_a_picture_lacks_one(tmp_path):
    fill(tmp_path, masks=tmp_path / "masks")
    for seed in (3, 4):
        (tmp_path / "masks" / f"{seed}.png").rename(tmp_path / "masks" / f"{seed}_mask.png")
    loaded = load(tmp_path, SIZE)
    assert loaded.faceset.face_masks is None
    assert len(loaded.faceset.frames) == 10
    assert [note.partition(": ")[2] for note in loaded.notes] == [
        "2 files in the folder masks are skipped, since no picture has such a name.",
        "2 pictures lack the mask that others carry, so none is used.",
    ]


def test_masks_without_a_picture_are_skipped(tmp_path):
    fill(tmp_path)
    save(tmp_path / "masks" / "face.png", grey(0))
    loaded = load(tmp_path, SIZE)
    assert len(loaded.faceset.frames) == 10
    assert loaded.faceset.face_masks is None
    (note,) = loaded.notes
    assert note.endswith("1 file in the folder masks is skipped, since no picture has such a name.")


def test_a_mask_is_cropped_and_scaled_like_its_picture(tmp_path):
    fill(tmp_path, masks=tmp_path / "masks")
    save(tmp_path / "7.png", noise(7, 4 * SIZE)[: 2 * SIZE])
    mask = np.zeros((2 * SIZE, 4 * SIZE), np.uint8)
    # The centre square is columns 8 to 23; its second half is face.
    mask[:, 2 * SIZE :] = 255
    save(tmp_path / "masks" / "7.png", mask)
    read = load(tmp_path, SIZE).faceset.face_masks[7]
    np.testing.assert_array_equal(read, np.repeat([[0] * 4 + [255] * 4], SIZE, axis=0))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (noise(0), "masks/3.png (is in colour, but a mask is a grey picture"),
        (noise(0, channels=4), "masks/3.png (has transparency"),
        (grey(0, 2 * SIZE), "masks/3.png (is a mask of 16 x 16 pixels, but its picture has 8 x 8)"),
        (np.eye(SIZE, dtype=np.uint8), "masks/3.png (is a mask of zeros and ones"),
    ],
)
def test_invalid_masks_are_refused(tmp_path, mask, reason):
    fill(tmp_path, masks=tmp_path / "masks")
    save(tmp_path / "masks" / "3.png", mask)
    assert reason in complaint(tmp_path)
    assert len(load(tmp_path, SIZE, skip_bad=True).faceset.frames) == 9


def test_masks_do_not_come_from_outside(tmp_path):
    fill(tmp_path / "ada", masks=tmp_path / "ada" / "masks")
    save(tmp_path / "secret.png", grey(0))
    (tmp_path / "ada" / "masks" / "3.png").unlink()
    (tmp_path / "ada" / "masks" / "3.png").symlink_to(tmp_path / "secret.png")
    assert "masks/3.png (is a link that leads out of the folder)" in complaint(tmp_path / "ada")


def test_a_linked_folder_of_masks_is_skipped(tmp_path):
    fill(tmp_path / "ada", masks=tmp_path / "elsewhere")
    (tmp_path / "ada" / "masks").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load(tmp_path / "ada", SIZE).faceset.face_masks is None


def test_a_mask_beside_a_picture_takes_precedence_over_the_one_inside(tmp_path, monkeypatch):
    original = frames._stored_face
    stored = np.full((SIZE, SIZE), 9, np.uint8)
    face = StoredFace(mask=StoredMask(stored, np.array([[1.0, 0, 0], [0, 1, 0]])))
    monkeypatch.setattr(frames, "_stored_face", lambda data, size: original(data, size) or face)
    fill(tmp_path, masks=tmp_path / "masks")
    (tmp_path / "masks" / "3.png").unlink()
    masks = load(tmp_path, SIZE).faceset.face_masks
    np.testing.assert_array_equal(masks[2], grey(2))
    np.testing.assert_array_equal(masks[3], stored)


def test_masks_are_matched_by_path_and_name():
    pictures = [PurePath(name) for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg", "a/1.jpg", "5.v2.jpg")]
    masks = ["1.jpg", "1.png", "2.webp", "3.jpg.png", "a/1.PNG", "5.v2.png", "b/4.png"]
    found = masks_of(pictures, [PurePath(name) for name in masks], Path("ada"))
    expected = ["1.jpg", "2.webp", "3.jpg.png", None, "a/1.PNG", "5.v2.png"]
    assert [mask and mask.as_posix() for mask in found] == expected


def test_two_masks_for_one_picture_are_refused():
    masks = [PurePath("7.jpg"), PurePath("7.png")]
    with pytest.raises(
        LossariumError, match=r"ada holds several masks for one picture: masks/7.jpg, masks/7"
    ):
        masks_of([PurePath("7.webp")], masks, Path("ada"))


NFC, NFD = "\u00e9t\u00e9", "e\u0301te\u0301"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(("picture", "mask"), [(NFC, NFD), (NFD, NFC)])
def test_masks_are_found_however_accents_are_stored(tmp_path, picture, mask, suffix):
    for seed in range(10):
        save(tmp_path / picture / f"{picture}{seed}{suffix}", noise(seed))
        save(tmp_path / "masks" / mask / f"{mask}{seed}.png", grey(seed))
    loaded = load(tmp_path, SIZE)
    np.testing.assert_array_equal(loaded.faceset.face_masks, [grey(seed) for seed in range(10)])
    assert "10 pictures have their face masks in the folder masks" in loaded.notes[0]


def test_an_exact_match_of_names_takes_precedence():
    paths = [PurePath(f"{name}.png") for name in (NFC, NFD)]
    assert masks_of(paths, paths, Path("ada")) == paths
    assert masks_of(paths[:1], paths, Path("ada")) == paths[:1]
    # A mask with exactly the first one's name is not used for the second one.
    assert masks_of(paths, paths[:1], Path("ada")) == [paths[0], None]


def test_ambiguous_names_that_look_the_same_are_refused():
    mixed = PurePath("\u00e9te\u0301.png")
    paths = [PurePath(f"{name}.png") for name in (NFC, NFD)]
    with pytest.raises(LossariumError) as caught:
        masks_of(paths, [mixed], Path("ada"))
    assert str(caught.value).startswith(
        "'\\xe9t\\xe9.png' and 'e\\u0301te\\u0301.png' look the same and differ only in how"
    )
    with pytest.raises(LossariumError, match="several masks for one picture"):
        masks_of([mixed], paths, Path("ada"))
