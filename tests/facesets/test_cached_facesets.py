"""A cached faceset equals one in memory, and takes no memory."""

import re
import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
import torch

from lossarium.facesets import cache
from lossarium.facesets.batches.amount import Augmentation
from lossarium.facesets.batches.batch import Batches
from lossarium.facesets.cache import decoded_bytes, is_cached
from lossarium.facesets.faceset import data_digest
from lossarium.facesets.folder import list_folder, load
from lossarium.facesets.formats import tables
from tests.facesets.handmade_folders import SIZE, complaint, noise, save, write_faceset


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of three pictures."""
    monkeypatch.setattr(cache, "_PIECE_BYTES", 3 * 3 * SIZE**2)


def plain(folder):
    """Twelve pictures with masks: some training pictures equal held-out ones, and one is damaged."""
    for place, seed in enumerate((6, 1, 6, 3, 4, 5, 6, 7, 8, 9, 7, 11)):
        save(folder / f"{place}.png", noise(seed))
        save(folder / "masks" / f"{place}.png", noise(100 + place)[..., 0])
    (folder / "4.png").write_bytes(b"")
    return folder


def own(folder):
    """Ten frames with masks, landmarks and states, the first a copy of the last, which is held out."""
    write_faceset(folder)
    save(folder / "frames" / "0000.webp", noise(9), lossless=True)
    return folder


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("made", [plain, own])
def test_a_cached_faceset_equals_one_in_memory(tmp_path, made):
    folder = made(tmp_path / "ada")
    expected = load(folder, SIZE, skip_bad=True)
    assert any("left out of training" in note for note in expected.notes)
    for _ in range(2):
        found = load(folder, SIZE, skip_bad=True, cache=tmp_path / "cache")
        assert found.notes == expected.notes
        for field in fields(expected.faceset):
            np.testing.assert_array_equal(
                getattr(found.faceset, field.name), getattr(expected.faceset, field.name)
            )
        assert isinstance(found.faceset.frames, np.memmap)
        assert isinstance(found.faceset.face_masks, np.memmap)
        assert data_digest(found.faceset) == data_digest(expected.faceset)
        one, other = (batches(loaded.faceset)(3) for loaded in (found, expected))
        assert torch.equal(one.input, other.input)


def batches(faceset):
    return Batches(
        [faceset] * 2, batch_size=2, seed=0, augmentation=Augmentation(), device=torch.device("cpu")
    )


@pytest.mark.usefixtures("small_pieces")
def test_a_cached_faceset_is_refused_like_one_in_memory(tmp_path):
    folder = plain(tmp_path / "ada")
    for _ in range(2):
        assert complaint(folder, cache=tmp_path / "cache") == complaint(folder)
    for place in range(5):
        (folder / f"{place}.png").unlink()
    for _ in range(2):
        assert complaint(folder, cache=tmp_path / "cache") == complaint(folder)


def test_whether_a_listing_is_cached_is_known_beforehand(tmp_path):
    folder = own(tmp_path / "ada")
    listing = list_folder(folder)
    assert decoded_bytes(listing, SIZE) == 10 * 4 * SIZE**2
    assert not is_cached(listing, SIZE, tmp_path / "cache")
    load(folder, SIZE, cache=tmp_path / "cache")
    assert is_cached(listing, SIZE, tmp_path / "cache")
    assert not is_cached(listing, 2 * SIZE, tmp_path / "cache")


def test_a_cache_does_not_outlive_the_split_that_it_was_made_with(tmp_path):
    folder = own(tmp_path / "ada")
    assert "0000" not in load(folder, SIZE, cache=tmp_path / "cache").faceset.frame_names
    manifest = folder / "faceset.toml"
    names = "0001", "0003", "0005"
    text = re.sub(r"held_out = \[[^]]*\]", f"held_out = {[*names]}", manifest.read_text())
    manifest.write_text(text)
    found = load(folder, SIZE, cache=tmp_path / "cache").faceset
    assert tuple(np.array(found.frame_names)[found.held_out]) == names
    # Its copy is not held out any more, so that the first frame may be trained on.
    assert data_digest(found) == data_digest(load(folder, SIZE).faceset)
    assert "0000" in found.frame_names


def test_a_cached_faceset_takes_no_memory_for_its_frames(tmp_path, monkeypatch):
    side, count = 128, 200
    for seed in range(count):
        save(tmp_path / "ada" / f"{seed}.png", noise(seed))
    save(tmp_path / "ada" / "0.png", noise(30))
    monkeypatch.setattr(cache, "_PIECE_BYTES", 2**20)
    # The buffer for a text file has the largest allowed size, though almost none of it is touched.
    monkeypatch.setattr(tables, "MAX_JSON_BYTES", 2**20)
    folder = tmp_path / "cache"

    def peak(**options):
        tracemalloc.start()
        try:
            faceset = load(tmp_path / "ada", side, **options).faceset
            data_digest(faceset)
            batches(faceset)(1)
            return len(faceset.frames), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    whole = 3 * count * side**2
    rows, taken = peak()
    assert taken > whole
    for _ in range(2):
        cached_rows, taken = peak(cache=folder)
        assert cached_rows == rows
        assert taken < whole / 2
