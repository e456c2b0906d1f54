"""faceswap's extracted PNGs: landmarks and masks in the crop, and every refusal."""

import re
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.folder import load
from lossarium.facesets.formats import faceswap_format
from lossarium.facesets.formats.alignment import crop_matrix, transform_points
from lossarium.facesets.formats.faceswap_format import faceswap_face
from lossarium.facesets.formats.stored_face import StoredFace, Unused, mask_in_frame
from tests.facesets.handmade_faces import (
    SIDE,
    Points,
    face,
    faceswap_header,
    faceswap_mask,
    faceswap_png,
    itxt_png,
    lying_png,
    on_an_edge,
)
from tests.facesets.handmade_folders import complaint

IN_FRAME = face(120, turn=0.1, shift=(300, 200))


def stored(data: bytes) -> StoredFace:
    found = faceswap_face(data, (SIDE, SIDE))
    assert found is not None
    return found


def refused(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        faceswap_face(data, (SIDE, SIDE))
    assert "\n" not in caught.value.reason
    return caught.value.reason


def disc(side: int, landmarks: Points, matrix: Points, radius: float) -> Any:
    """A disc around the nose, in frame pixels."""
    rows, columns = np.mgrid[0:side, 0:side]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    places = transform_points(inverse, np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    inside = np.linalg.norm(places - landmarks[30], axis=1) < radius
    return (inside * 255).astype(np.uint8).reshape(side, side)


def test_landmarks_in_a_crop_of_the_head() -> None:
    found = stored(faceswap_png(faceswap_header(IN_FRAME)))
    expected = transform_points(crop_matrix(IN_FRAME, "head", SIDE), IN_FRAME) + 0.5
    assert found.landmarks is not None
    np.testing.assert_array_equal(found.landmarks, expected)
    assert found.mask is None
    # The whole head is in the picture, and the face a good part of it.
    assert 0 < found.landmarks.min() < found.landmarks.max() < SIDE
    assert np.ptp(found.landmarks[:, 0]) > SIDE / 4


def test_landmarks_in_a_legacy_crop() -> None:
    header = faceswap_header(IN_FRAME)
    header["source"]["alignments_version"] = 1.0
    expected = transform_points(crop_matrix(IN_FRAME, "legacy", SIDE), IN_FRAME) + 0.5
    np.testing.assert_array_equal(stored(faceswap_png(header)).landmarks, expected)


def test_a_mask_lands_where_it_was_in_the_frame() -> None:
    to_mask = crop_matrix(IN_FRAME, "face", 128)
    mask = faceswap_mask(disc(128, IN_FRAME, to_mask, 30), to_mask)
    found = stored(faceswap_png(faceswap_header(IN_FRAME, components=mask)))
    assert found.mask is not None
    in_frame = mask_in_frame(found.mask, (SIDE, SIDE), SIDE)
    expected = disc(SIDE, IN_FRAME, crop_matrix(IN_FRAME, "head", SIDE), 30)
    assert expected.mean() > 5
    assert not ((in_frame > 127) != (expected > 127))[~on_an_edge(expected)].any()
    half = mask_in_frame(found.mask, (SIDE, SIDE), SIDE // 2)
    reduced = in_frame.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
    # Both are rounded to levels, one of them before the mean.
    assert np.abs(half - reduced).max() <= 1


def test_masks_made_from_the_picture_are_preferred() -> None:
    matrix = crop_matrix(IN_FRAME, "face", 16)
    masks = {
        name: faceswap_mask(np.full((16, 16), value, np.uint8), matrix)
        for value, name in enumerate(["components", "eye", "extended", "bisenet-fp_face", "mouth"])
    }
    mask = stored(faceswap_png(faceswap_header(IN_FRAME, **masks))).mask
    assert mask is not None
    assert mask.pixels[0, 0] == 3


def test_a_folder_of_extracted_faces(tmp_path: Path) -> None:
    matrix = crop_matrix(IN_FRAME, "face", 32)
    mask = faceswap_mask(np.full((32, 32), 255, np.uint8), matrix)
    for number in range(10):
        header = faceswap_header(IN_FRAME, extended=mask)
        (tmp_path / f"f_{number}.png").write_bytes(faceswap_png(header, seed=number))
    faceset = load(tmp_path, SIDE // 2).faceset
    assert faceset.landmarks is not None
    assert faceset.landmarks.shape == (10, 68, 2)
    assert faceset.landmarks.dtype == np.float32
    expected = (transform_points(crop_matrix(IN_FRAME, "head", SIDE), IN_FRAME) + 0.5) / 2
    np.testing.assert_array_equal(faceset.landmarks[3], expected.astype(np.float32))
    assert faceset.face_masks is not None
    assert faceset.face_masks.shape == (10, SIDE // 2, SIDE // 2)
    assert faceset.face_masks.max() == 255
    assert faceset.face_masks.min() == 0

    (tmp_path / "f_4.png").write_bytes(itxt_png(b"Comment\0\0\0\0\0nothing", seed=4))
    loaded = load(tmp_path, SIDE)
    assert loaded.faceset.landmarks is None
    assert loaded.faceset.face_masks is None
    assert [note.partition(": ")[2] for note in loaded.notes] == [
        "1 picture lacks the landmarks that others carry, so none is used.",
        "1 picture lacks the mask that others carry, so none is used.",
    ]

    (tmp_path / "f_4.png").write_bytes(faceswap_png(b"[" * 1000, seed=4))
    loaded = load(tmp_path, SIDE)
    assert len(loaded.faceset.frames) == 10
    assert loaded.faceset.landmarks is None
    assert "1 picture carries faceswap's header in a form that is not understood" in "".join(loaded.notes)

    whole = faceswap_png(faceswap_header(IN_FRAME))
    (tmp_path / "f_4.png").write_bytes(whole.replace(b"landmarks_xy", b"landmarks_yx"))
    assert "f_4.png (carries damaged data of faceswap's: its checksum is wrong" in complaint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f"OrderedDict({text})",
        lambda text: text.replace("'source': {", "'source': {'folder': PosixPath('/faces'), "),
        lambda text: text.replace("'source': {", "'source': {'ids': array([0., 1., ..., 8., 9.]), "),
        lambda text: text[:-20],
        lambda _: "",
        lambda _: "[1, 2]",
        lambda _: "(" * 5000,
        lambda _: "[" + "1," * 60_000 + "]",
    ],
)
def test_a_header_that_is_not_understood_leaves_the_pixels(change: Any) -> None:
    text = change(repr(faceswap_header(IN_FRAME)))
    assert stored(faceswap_png(text.encode())) == StoredFace(unused=Unused.NOT_UNDERSTOOD)


def test_other_numbers_of_landmarks_are_unknown() -> None:
    assert stored(faceswap_png(faceswap_header(IN_FRAME[:4]))) == StoredFace(unused=Unused.NO_LANDMARKS)


def test_pictures_without_its_chunk_have_no_face_data() -> None:
    assert faceswap_face(itxt_png(b"Comment\0\0\0\0\0faceswap"), (SIDE, SIDE)) is None
    assert faceswap_face(itxt_png(b"faceswap")[:60], (SIDE, SIDE)) is None


@pytest.mark.parametrize("length", [2**32 - 1, 2**20 + 1])
def test_a_chunk_that_claims_too_much_is_refused(length: int) -> None:
    data = lying_png(length)
    tracemalloc.start()
    assert refused(data) == f"claims {length} bytes of faceswap's data; at most 1048576 are read"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_chunk_that_is_cut_off_or_damaged_is_refused() -> None:
    assert "cut off" in refused(lying_png(100_000))
    data = faceswap_png(faceswap_header(IN_FRAME))
    assert "its checksum is wrong" in refused(data.replace(b"landmarks_xy", b"landmarks_yx"))
    assert "cannot be decompressed" in refused(itxt_png(b"faceswap\0\1\0\0\0no zlib"))
    assert "cannot be decompressed" in refused(itxt_png(b"faceswap\0\1\0\0\0" + zlib.compress(b"{}")[:-5]))
    bomb = zlib.compress(b" " * 50_000_000)
    assert "more than 1048576 bytes once" in refused(itxt_png(b"faceswap\0\1\0\0\0" + bomb))
    assert "has no text" in refused(itxt_png(b"faceswap\0\0\0{}"))
    assert "not UTF-8" in refused(faceswap_png(b"\xff\xfe"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["alignments", "mask"], [1]),
        (["alignments", "mask", "extended", "stored_size"], 10**9),
        (["alignments", "mask", "extended", "stored_size"], True),
        (["alignments", "mask", "extended", "stored_size"], 17),
        (["alignments", "mask", "extended", "stored_size"], 15),
        (["alignments", "mask", "extended", "mask"], "text"),
        (["alignments", "mask", "extended", "mask"], b"text"),
        (["alignments", "mask", "extended", "affine_matrix"], [[1, 0, 0]]),
        (["alignments", "mask", "extended", "affine_matrix"], [[1, 0, 1e99]] * 2),
    ],
)
def test_a_mask_that_faceswap_does_not_write_leaves_the_landmarks(path: list[str], value: object) -> None:
    mask = faceswap_mask(np.zeros((16, 16), np.uint8), crop_matrix(IN_FRAME, "face", 16))
    header: Any = faceswap_header(IN_FRAME, extended=mask)
    table = header
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    found = stored(faceswap_png(header))
    assert found.mask is None
    assert found.unused is Unused.UNUSABLE_MASK
    without = stored(faceswap_png(faceswap_header(IN_FRAME))).landmarks
    assert found.landmarks is not None
    assert without is not None
    np.testing.assert_array_equal(found.landmarks, without)


def test_a_mask_that_inflates_to_a_gigabyte_is_not_used() -> None:
    mask = faceswap_mask(np.zeros((16, 16), np.uint8), crop_matrix(IN_FRAME, "face", 16))
    packer = zlib.compressobj(9)
    mask["mask"] = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    data = faceswap_png(faceswap_header(IN_FRAME, extended=mask))
    tracemalloc.start()
    assert stored(data).unused is Unused.UNUSABLE_MASK
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_a_picture_that_was_cropped_keeps_its_pixels_without_landmarks() -> None:
    found = faceswap_face(faceswap_png(faceswap_header(IN_FRAME)), (64, 32))
    assert found == StoredFace(unused=Unused.CROPPED)


@pytest.mark.parametrize(
    ("path", "value", "unused"),
    [
        (["alignments"], 3, Unused.NO_ALIGNMENTS),
        (["source"], None, Unused.NO_ALIGNMENTS),
        (["alignments", "landmarks_xy"], None, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [[1, 2, 3]] * 68, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [["1", 2]] * 68, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [[10**390, 2]] * 68, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [[float("nan"), 2]] * 68, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [[5, -float("inf")]] * 68, Unused.NO_LANDMARKS),
        (["alignments", "landmarks_xy"], [[5, 5]] * 68, Unused.NO_LANDMARKS),
    ],
)
def test_invalid_face_data_is_not_used_and_the_reason_is_kept(
    path: list[str], value: object, unused: Unused
) -> None:
    header: Any = faceswap_header(IN_FRAME)
    table = header
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    assert stored(faceswap_png(header)) == StoredFace(unused=unused)


def as_numpy_two(header: object) -> bytes:
    """A header with its numbers as numpy 2 prints its scalars."""
    text = re.sub(r"(?<=[ \[(])-?\d+\.\d+(?:e-?\d+)?", r"np.float64(\g<0>)", repr(header))
    return re.sub(r"(?<=: )\d+(?=[,}])", r"np.int64(\g<0>)", text).encode()


@pytest.mark.parametrize("write", ["scalars", "array", "zipped", "zTXt", "tEXt"])
def test_the_same_landmarks_however_they_are_written(write: str) -> None:
    header: Any = faceswap_header(IN_FRAME)
    expected = stored(faceswap_png(header)).landmarks
    assert expected is not None
    plain = repr(header).encode()
    if write == "scalars":
        text = as_numpy_two(header)
        assert text.count(b"np.") > 140
        data = faceswap_png(text)
    elif write == "array":
        header["alignments"]["landmarks_xy"] = "HERE"
        array = b"np." + repr(np.array(IN_FRAME)).encode()
        data = faceswap_png(repr(header).encode().replace(b"'HERE'", array[:-1] + b", dtype=np.float64)"))
    elif write == "zipped":
        data = itxt_png(b"faceswap\0\1\0\0\0" + zlib.compress(plain))
    else:
        body = b"\0" + zlib.compress(plain) if write == "zTXt" else plain
        whole = itxt_png(b"faceswap\0" + body)
        data = text_chunk(whole, write.encode())
    if write == "array":  # numpy prints eight places of an array, and this crop is smaller than the frame.
        np.testing.assert_allclose(stored(data).landmarks, expected, rtol=0, atol=4 * 5e-9)
    else:
        np.testing.assert_array_equal(stored(data).landmarks, expected)


def text_chunk(data: bytes, kind: bytes) -> bytes:
    """A PNG whose iTXt chunk is renamed, its checksum mended."""
    start = data.index(b"iTXt")
    length = int.from_bytes(data[start - 4 : start], "big")
    body = data[start + 4 : start + 4 + length]
    checksum = zlib.crc32(kind + body).to_bytes(4, "big")
    return data[:start] + kind + body + checksum + data[start + 8 + length :]


def test_a_folder_with_other_headers_is_trained_on_with_a_note(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"f_{number}.png").write_bytes(faceswap_png({"some": [1, 2]}, seed=number))
    loaded = load(tmp_path, SIDE)
    assert len(loaded.faceset.frame_names) == 10
    assert loaded.faceset.landmarks is None
    (note,) = loaded.notes
    assert "10 pictures carry faceswap's header without alignments" in note


def test_the_limits_admit_what_faceswap_writes() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (128, 128), np.uint8) * np.uint8(255)
    masks = {f"mask{n}": faceswap_mask(noise, crop_matrix(IN_FRAME, "face", 128)) for n in range(6)}
    header = faceswap_header(IN_FRAME, **masks)
    header["alignments"]["identity"] = {f"net{n}": [0.1234567] * 512 for n in range(4)}
    assert len(repr(header)) < faceswap_format.MAX_CHUNK_BYTES
    assert stored(faceswap_png(header)).mask is not None
