"""The cache equals what reading gives, is rebuilt if outdated or damaged, and is never half-written."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets import cache, checksums, frames
from lossarium.facesets.cache import cached_frames
from lossarium.facesets.frames import read_frames
from lossarium.facesets.listing import plain_listing

SIZE = 16


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for place in range(7):
        pixels = numbers.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return folder


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of three pictures."""
    monkeypatch.setattr(cache, "_PIECE_BYTES", 3 * 3 * SIZE**2)


@pytest.fixture
def unread(monkeypatch):
    """From this call on, decoding is an error."""

    def forbid():
        def fail(*_):
            raise AssertionError("a picture was read again")

        monkeypatch.setattr(cache, "read_frames", fail)

    return forbid


@pytest.mark.usefixtures("small_pieces")
def test_the_cache_equals_reading_and_is_memory_mapped(pictures, tmp_path, unread):
    listing = plain_listing(pictures)
    seen = []
    first = cached_frames(listing, SIZE, tmp_path / "cache", lambda *done: seen.append(done))
    assert seen == [(number, 7) for number in range(1, 8)]
    unread()
    second = cached_frames(listing, SIZE, tmp_path / "cache")
    expected = read_frames(listing, SIZE)
    for readings in (first, second):
        assert isinstance(readings.frames, np.memmap)
        assert not readings.frames.flags.writeable
        assert np.array_equal(readings.frames, expected.frames)
        assert readings.face_masks is None
        assert readings.kept == expected.kept
        assert readings.remarks == expected.remarks


def test_the_frames_file_is_numpys_own(pictures, tmp_path):
    readings = cached_frames(plain_listing(pictures), SIZE, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*-frames.npy")
    assert np.array_equal(np.load(file, allow_pickle=False), readings.frames)


@pytest.mark.usefixtures("small_pieces")
def test_unreadable_pictures_are_remembered_with_their_reasons(pictures, tmp_path, unread):
    (pictures / "3.png").write_bytes(b"no picture")
    listing = plain_listing(pictures)
    expected = read_frames(listing, SIZE)
    cached_frames(listing, SIZE, tmp_path / "cache")
    unread()
    readings = cached_frames(listing, SIZE, tmp_path / "cache")
    assert readings.kept == [0, 1, 2, 4, 5, 6]
    assert np.array_equal(readings.frames, expected.frames)
    assert [str(failure) for failure in readings.failures] == [str(failure) for failure in expected.failures]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("with_mask", "with_landmarks"),
    [(range(7), range(7)), (range(5), range(4, 7)), ([], [6]), ([0], []), (range(3), range(3, 7))],
)
def test_masks_and_landmarks_are_kept_where_every_frame_has_them(
    pictures, tmp_path, monkeypatch, with_mask, with_landmarks
):
    original = frames._read_frame

    def read(frame, *rest):
        place = int(frame.path.stem)
        return replace(
            original(frame, *rest),
            mask=np.full((SIZE, SIZE), place, np.uint8) if place in with_mask else None,
            landmarks=np.full((68, 2), place / 3, np.float32) if place in with_landmarks else None,
        )

    monkeypatch.setattr(frames, "_read_frame", read)
    listing = plain_listing(pictures)
    expected = read_frames(listing, SIZE)
    cached_frames(listing, SIZE, tmp_path / "cache")
    found = cached_frames(listing, SIZE, tmp_path / "cache")
    assert (found.face_masks is None) == (len(with_mask) < 7)
    for name in ("face_masks", "landmarks"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert found.without_mask == expected.without_mask
    assert found.without_landmarks == expected.without_landmarks
    assert sorted((tmp_path / "cache").glob(".*")) == []


def test_a_folder_without_any_good_picture_is_remembered_too(pictures, tmp_path, unread):
    for file in pictures.iterdir():
        file.write_bytes(b"no picture")
    listing = plain_listing(pictures)
    cached_frames(listing, SIZE, tmp_path / "cache")
    unread()
    readings = cached_frames(listing, SIZE, tmp_path / "cache")
    assert readings.frames.shape == (0, SIZE, SIZE, 3)
    assert readings.face_masks is None
    assert readings.landmarks is None
    assert len(readings.failures) == 7


def test_another_size_and_a_changed_or_added_picture_are_read_again(pictures, tmp_path):
    folder = tmp_path / "cache"
    cached_frames(plain_listing(pictures), SIZE, folder)
    assert cached_frames(plain_listing(pictures), 8, folder).frames.shape == (7, 8, 8, 3)
    Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(pictures / "2.png")
    assert (cached_frames(plain_listing(pictures), SIZE, folder).frames[2] == (1, 2, 3)).all()
    Image.new("RGB", (SIZE, SIZE)).save(pictures / "9.png")
    assert len(cached_frames(plain_listing(pictures), SIZE, folder).frames) == 8


def _other_dtype(file):
    np.save(file, np.zeros((7, SIZE, SIZE, 3), np.float32))


def _other_shape(file):
    np.save(file, np.zeros((6, SIZE, SIZE, 3), np.uint8))


def _code(file):
    np.save(file, np.array([print] * 7, object), allow_pickle=True)


def _shorter(file):
    os.truncate(file, file.stat().st_size - 1)


def _longer(file):
    with file.open("ab") as opened:
        opened.write(b"\0")


def _no_array(file):
    file.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{")


def _flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)


def _flipped_header(file):
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


def _swapped_rows(file):
    array = np.load(file)
    np.save(file, array[[1, 0, *range(2, len(array))]])


DAMAGES = [
    _flipped,
    _flipped_header,
    _swapped_rows,
    _other_dtype,
    _other_shape,
    _code,
    _shorter,
    _longer,
    _no_array,
    os.remove,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_array_is_rebuilt(pictures, tmp_path, damage):
    listing, folder = plain_listing(pictures), tmp_path / "cache"
    expected = np.array(cached_frames(listing, SIZE, folder).frames)
    (file,) = folder.glob("*-frames.npy")
    damage(file)
    readings = cached_frames(listing, SIZE, folder)
    assert np.array_equal(readings.frames, expected)
    if file.name in "".join(readings.notes):
        assert "is damaged (" in readings.notes[0]
    else:
        # Missing files were removed by someone, which is allowed.
        assert damage is os.remove
    assert cached_frames(listing, SIZE, folder).notes == ()


@pytest.mark.parametrize("array", ["frames", "masks", "points"])
@pytest.mark.parametrize("chunk_bytes", [4 * 2**20, 1000])
def test_one_flipped_bit_anywhere_is_found_and_named(pictures, tmp_path, monkeypatch, array, chunk_bytes):
    original = frames._read_frame

    def read(frame, *rest):
        mask = np.full((SIZE, SIZE), 7, np.uint8)
        return replace(original(frame, *rest), mask=mask, landmarks=np.ones((68, 2), np.float32))

    monkeypatch.setattr(frames, "_read_frame", read)
    monkeypatch.setattr(checksums, "CHUNK_BYTES", chunk_bytes)
    listing, folder = plain_listing(pictures), tmp_path / "cache"
    cached_frames(listing, SIZE, folder)
    (file,) = folder.glob(f"*-{array}.npy")
    good = file.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        content = bytearray(good)
        content[place] ^= 1 << place % 8
        file.write_bytes(content)
        (note,) = cached_frames(listing, SIZE, folder).notes
        start = place // chunk_bytes * chunk_bytes
        assert note == (
            f"The cache of frames {file} is damaged (its contents changed after byte {start:,}), "
            "so it is rebuilt"
        )
        assert file.read_bytes() == good


def test_swapped_files_of_two_caches_are_detected(pictures, tmp_path):
    folder, copy = tmp_path / "cache", tmp_path / "copy"
    shutil.copytree(pictures, copy)
    Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(copy / "2.png")
    one, other = plain_listing(pictures), plain_listing(copy)
    expected = [np.array(cached_frames(listing, SIZE, folder).frames) for listing in (one, other)]
    first, second = folder.glob("*-frames.npy")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    for listing, wanted in zip((one, other), expected, strict=True):
        readings = cached_frames(listing, SIZE, folder)
        assert "is damaged (its contents changed" in readings.notes[0]
        assert np.array_equal(readings.frames, wanted)


def test_a_damaged_cache_that_cannot_be_rebuilt_is_named(pictures, tmp_path, monkeypatch):
    listing, folder = plain_listing(pictures), tmp_path / "cache"
    cached_frames(listing, SIZE, folder)
    (file,) = folder.glob("*-frames.npy")
    _flipped(file)

    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache, "_build", read_only)
    with pytest.raises(LossariumError) as caught:
        cached_frames(listing, SIZE, folder)
    assert str(caught.value) == (
        f"The cache of frames {file} is damaged (its contents changed after byte 0), and cannot be "
        "rebuilt: read-only file system; remove it, or give another folder for the cache."
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "0" * 64},
        {"kept": [0, 0, 1, 2, 3, 4, 5]},
        {"kept": [0, 1, 2, 3, 4, 5, 7]},
        {"kept": [-1, 1, 2, 3, 4, 5, 6]},
        {"kept": 7},
        {"kept": [True, 1, 2, 3, 4, 5, 6]},
        {"remarks": {}},
        {"failures": [{"frame": 99, "file": 0, "reason": ""}]},
        {"failures": [{"frame": 0, "file": 1, "reason": ""}]},
        {"failures": [{"frame": 0, "file": 3, "reason": ""}]},
        {"landmarks": True},
        {"masks": True},
        {"failures": ["x"]},
    ],
    ids=str,
)
def test_a_damaged_description_is_rebuilt(pictures, tmp_path, changed):
    listing, folder = plain_listing(pictures), tmp_path / "cache"
    cached_frames(listing, SIZE, folder)
    (file,) = folder.glob("*.json")
    good = file.read_bytes()
    file.write_text(json.dumps({**json.loads(good), **changed}))
    readings = cached_frames(listing, SIZE, folder)
    assert readings.kept == list(range(7))
    assert readings.notes == (
        f"The cache of frames {file} is damaged (its checksum is wrong), so it is rebuilt",
    )
    assert file.read_bytes() == good


@pytest.mark.parametrize("place", range(0, 700, 23))
def test_a_flipped_bit_in_a_description_never_goes_unnoticed(pictures, tmp_path, place):
    (pictures / "3.png").write_bytes(b"no picture")
    listing, folder = plain_listing(pictures), tmp_path / "cache"
    expected = cached_frames(listing, SIZE, folder)
    (file,) = folder.glob("*.json")
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1
    file.write_bytes(content)
    readings = cached_frames(listing, SIZE, folder)
    assert "is damaged" in readings.notes[0]
    assert [str(failure) for failure in readings.failures] == [str(failure) for failure in expected.failures]


def test_what_is_interrupted_leaves_nothing_behind(pictures, tmp_path):
    def stop(done, _):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_frames(plain_listing(pictures), SIZE, tmp_path / "cache", stop)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_nothing_behind(pictures, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LossariumError, match="cannot be written: no space left"):
        cached_frames(plain_listing(pictures), SIZE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_folder_that_is_a_file_is_refused(pictures, tmp_path):
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(LossariumError, match="cannot be written"):
        cached_frames(plain_listing(pictures), SIZE, tmp_path / "cache")


def test_a_picture_that_changes_while_it_is_read_is_noticed(pictures, tmp_path):
    def meddle(done, _):
        if done == 7:
            Image.new("RGB", (8, 8)).save(pictures / "0.png")

    with pytest.raises(LossariumError, match="changed while they were read"):
        cached_frames(plain_listing(pictures), SIZE, tmp_path / "cache", meddle)


def cache_of(folder, number, *, digest="ab" * 32, name=None, order=("format", "digest")):
    """The files of a cache of some format, with a name of their own."""
    name = name or digest[:32]
    values = {"format": f"lossarium cache {number}", "digest": digest}
    about = folder / f"{name}.json"
    about.write_text(json.dumps({**{key: values[key] for key in order}, "kept": [0]}))
    arrays = [folder / f"{name}-{array}.npy" for array in ("frames", "masks", "points")]
    for array in arrays:
        np.save(array, np.zeros(3, np.uint8))
    return [about, *arrays]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_cache_of_an_older_format_is_removed_when_another_is_made(pictures, tmp_path, number):
    folder = tmp_path / "cache"
    folder.mkdir()
    older = cache_of(folder, number)
    cached_frames(plain_listing(pictures), SIZE, folder)
    assert not any(path.exists() for path in older)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npy"]


def test_nothing_else_is_removed_from_the_folder_of_a_cache(pictures, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cached_frames(plain_listing(pictures), 32, folder)
    kept = [*folder.iterdir()]
    kept += cache_of(folder, 5, digest="01" * 32)
    kept += cache_of(folder, 3, digest="23" * 32, name="45" * 16)
    kept += cache_of(folder, 3, digest="67" * 32, name="mine")
    kept += cache_of(folder, 3, digest="89" * 32, order=("digest", "format"))
    linked = cache_of(elsewhere, 3)
    (folder / linked[0].name).symlink_to(linked[0])
    kept += [*linked, folder / linked[0].name]
    orphan = folder / f"{'cd' * 16}-frames.npy"
    np.save(orphan, np.zeros(3))
    # A user's own array that happens to be named like one of an older cache.
    about, frames_file, *rest = cache_of(folder, 3, digest="ef" * 32)
    frames_file.write_text("not an array")
    kept += [orphan, about, frames_file]
    contents = {path: path.read_bytes() for path in kept}
    cached_frames(plain_listing(pictures), SIZE, folder)
    assert {path: path.read_bytes() for path in kept} == contents
    assert not any(path.exists() for path in rest)


def test_older_caches_stay_while_the_current_one_is_valid(pictures, tmp_path):
    folder = tmp_path / "cache"
    cached_frames(plain_listing(pictures), SIZE, folder)
    older = cache_of(folder, 3)
    cached_frames(plain_listing(pictures), SIZE, folder)
    assert all(path.exists() for path in older)
