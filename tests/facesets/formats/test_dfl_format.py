"""DeepFaceLab's aligned JPEGs and packed facesets: landmarks, masks, and every refusal."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import types
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.folder import load
from lossarium.facesets.formats.dfl_format import dfl_data, dfl_face
from lossarium.facesets.formats.stored_face import StoredFace, mask_in_frame
from tests.facesets.handmade_faces import SIDE, dfl_fields, dfl_jpeg, face, faceset_pak, on_an_edge
from tests.facesets.handmade_folders import complaint
from tests.facesets.handmade_pictures import chunk, encoded

LANDMARKS = face(40, shift=(12, 10))


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def disc_mask(side: int = 32, kind: str = "PNG") -> np.ndarray:
    rows, columns = np.mgrid[0:side, 0:side] / side
    inside = (rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.1
    data = encoded(Image.fromarray((inside * 255).astype(np.uint8)), kind)
    # As cv2.imencode gives it.
    return np.frombuffer(data, np.uint8).reshape(-1, 1)


def stored(data: bytes) -> StoredFace:
    found = dfl_face(data, (SIDE, SIDE))
    assert found is not None
    return found


def refused(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        dfl_face(data, (SIDE, SIDE))
    return caught.value.reason


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_fields(protocol: int) -> None:
    polygons = {"polys": [{"type": 0, "pts": [[1, 2], [3, 4], [5, 9]]}, {"type": 1, "pts": np.eye(3, 2)}]}
    data = dfl_data(
        dfl_jpeg(dfl_fields(LANDMARKS, seg_ie_polys=polygons, xseg_mask=disc_mask()), protocol=protocol)
    )
    assert data is not None
    assert data.face_type == "whole_face"
    np.testing.assert_array_equal(data.landmarks, LANDMARKS)
    np.testing.assert_array_equal(data.source_landmarks, LANDMARKS * 2 + 30)
    np.testing.assert_array_equal(data.image_to_face_mat, [[0.5, 0, -15], [0, 0.5, -15]])
    assert [polygon.includes for polygon in data.polygons] == [True, False]
    np.testing.assert_array_equal(data.polygons[0].points, np.eye(3, 2))
    assert data.xseg_mask is not None
    assert data.xseg_mask.shape == (32, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_landmarks_and_the_learned_mask(kind: str) -> None:
    found = stored(dfl_jpeg(dfl_fields(LANDMARKS, xseg_mask=disc_mask(kind=kind))))
    np.testing.assert_array_equal(found.landmarks, LANDMARKS + 0.5)
    assert found.mask is not None
    mask = mask_in_frame(found.mask, (SIDE, SIDE), 32)
    expected = np.asarray(Image.open(io.BytesIO(disc_mask(kind=kind).tobytes())))
    np.testing.assert_array_equal(mask, expected)


def test_outlines_become_a_mask_and_excluding_ones_come_last() -> None:
    polygons = [
        (0, [[20, 20], [40, 20], [40, 40], [20, 40]]),
        (1, np.array([[10.0, 10.0], [50, 10], [50, 50], [10, 50]])),
        (1, [[0, 0]]),
    ]
    found = stored(dfl_jpeg(dfl_fields(LANDMARKS, seg_ie_polys=polygons)))
    assert found.mask is not None
    mask = mask_in_frame(found.mask, (SIDE, SIDE), SIDE)
    expected = np.zeros((SIDE, SIDE))
    expected[10:50, 10:50] = 1
    expected[20:40, 20:40] = 0
    # Corners are the centres of pixels, so that outlines run through the middle of these.
    assert not ((mask > 127) != (expected > 0))[~on_an_edge(expected)].any()
    assert mask[30, 30] == 0
    assert mask[15, 15] == 255
    assert mask[5, 5] == 0
    alone = stored(dfl_jpeg(dfl_fields(LANDMARKS, seg_ie_polys=[polygons[0]])))
    assert alone.mask is None


def test_pictures_without_it_have_no_face_data() -> None:
    plain = encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG")
    assert dfl_face(plain, (SIDE, SIDE)) is None
    # What other programs write there.
    assert dfl_face(dfl_jpeg(b"Q 70"), (SIDE, SIDE)) is None
    assert dfl_face(plain[:30], (SIDE, SIDE)) is None
    assert stored(dfl_jpeg({})) == StoredFace()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_picture_is_not_run_and_the_file_is_named(tmp_path: Path, protocol: int) -> None:
    ran = tmp_path / "ran"
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(dfl_jpeg(dfl_fields(LANDMARKS), seed=number))
    hostile = pickle.dumps(_Runs(ran), protocol)
    assert b"system" in hostile
    (tmp_path / "7.jpg").write_bytes(dfl_jpeg(hostile))
    sentence = complaint(tmp_path)
    assert f"7.jpg (carries a pickle that names {os.system.__module__}.system, which could run" in sentence
    assert len(load(tmp_path, SIDE, skip_bad=True).faceset.frames) == 9
    assert not ran.exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"landmarks": [[1, 2]] * 67}, "its landmarks are not 68 points"),
        ({"landmarks": np.zeros((68, 3))}, "its landmarks are not 68 points"),
        ({"landmarks": np.full((68, 2), np.nan)}, "its landmarks are not 68 points"),
        ({"landmarks": [[float("inf"), 2]] * 68}, "its landmarks are not 68 points"),
        ({"landmarks": [["1", 2]] * 68}, "its landmarks are not 68 points"),
        ({"landmarks": "68 points"}, "its landmarks are not 68 points"),
        ({"source_landmarks": 3}, "its source_landmarks are not 68 points"),
        ({"image_to_face_mat": [[1, 2, 3]]}, "its image_to_face_mat is not two rows"),
        ({"seg_ie_polys": 3}, "its seg_ie_polys is not a list of outlines"),
        ({"seg_ie_polys": [3]}, "its seg_ie_polys is not a list of outlines"),
        ({"seg_ie_polys": [(1, [[1, 2, 3]])]}, "an outline in its seg_ie_polys is not a list of points"),
        ({"seg_ie_polys": [(1, [])] * 10_001}, "its seg_ie_polys has too many points"),
        ({"xseg_mask": 3}, "its xseg_mask is neither a PNG nor a JPEG"),
        ({"xseg_mask": np.zeros(9, np.uint8)}, "its xseg_mask is neither a PNG nor a JPEG"),
        ({"xseg_mask": b"\xff\xd8\xff\xd9"}, "its xseg_mask cannot be decoded"),
        ({"xseg_mask": b"\x89PNG\r\n\x1a\n"}, "its xseg_mask cannot be decoded"),
    ],
)
def test_damaged_fields_are_named(more: dict[str, object], complaint: str) -> None:
    assert complaint in refused(dfl_jpeg({**dfl_fields(LANDMARKS), **more}))


def test_a_pickle_that_is_not_a_dict_is_refused() -> None:
    assert "it is not a dict" in refused(dfl_jpeg([1, 2]))


def test_masks_that_would_take_much_memory_are_refused_from_their_header() -> None:
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    tall = encoded(Image.new("L", (8, 8)), "JPEG")
    at = tall.index(b"\xff\xc0") + 5
    tall = tall[:at] + struct.pack(">HH", 9000, 9000) + tall[at + 4 :]
    for mask, size in ((bomb, 10_000), (tall, 9000)):
        tracemalloc.start()
        reason = refused(dfl_jpeg(dfl_fields(LANDMARKS, xseg_mask=mask)))
        assert f"its xseg_mask is {size} x {size} pixels; at most 2048 a side are read" in reason
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()


def configurations(count: int, **more: object) -> list[dict[str, object]]:
    return [
        {"filename": f"{number}.jpg", "landmarks": LANDMARKS.tolist(), "shape": (SIDE, SIDE, 3), **more}
        for number in range(count)
    ]


def pictures(count: int) -> list[bytes]:
    return [dfl_jpeg(dfl_fields(LANDMARKS + number), seed=number) for number in range(count)]


def test_a_packed_faceset(tmp_path: Path) -> None:
    (tmp_path / "faceset.pak").write_bytes(faceset_pak(pictures(12), configurations(12)))
    loaded = load(tmp_path, SIDE)
    assert loaded.notes == ()
    faceset = loaded.faceset
    assert faceset.frame_names == tuple(f"{number}.jpg" for number in range(12))
    assert faceset.landmarks is not None
    # Stored in float32.
    np.testing.assert_array_equal(faceset.landmarks[11], (LANDMARKS + 11.5).astype(np.float32))
    for number, data in enumerate(pictures(12)):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    assert load(tmp_path, SIDE).notes == (f"{tmp_path.name}: 12 pictures beside faceset.pak are skipped.",)
    (tmp_path / "faceset.pak").unlink()
    loose = load(tmp_path, SIDE).faceset
    np.testing.assert_array_equal(loose.frames, faceset.frames)
    np.testing.assert_array_equal(loose.landmarks, faceset.landmarks)


def test_a_packed_faceset_with_the_kinds_and_people_that_deepfacelab_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[IntEnum] = []
    for module, name in (("samplelib.Sample", "SampleType"), ("facelib.FaceType", "FaceType")):
        made = types.ModuleType(module)
        kind = IntEnum(name, {"ONE": 1}, module=module)
        # As Python before 3.11 and since 3.12 pickles it.
        monkeypatch.setattr(kind, "__reduce_ex__", lambda self, _: (type(self), (self.value,)))
        setattr(made, name, kind)
        monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType(module.partition(".")[0]))
        monkeypatch.setitem(sys.modules, module, made)
        kinds.append(kind(1))
    configured = configurations(10, sample_type=kinds[0], face_type=kinds[1])
    for number, configuration in enumerate(configured):
        configuration["person_name"] = ("ada", "../../ben")[number % 2]
    (tmp_path / "faceset.pak").write_bytes(faceset_pak(pictures(10), configured))
    loaded = load(tmp_path, SIDE)
    assert loaded.faceset.frame_names[:5] == tuple(f"ada/{number}.jpg" for number in (0, 2, 4, 6, 8))
    assert loaded.faceset.frame_names[5] == "ben/1.jpg"
    assert "holds 2 people, who are read as one identity" in loaded.notes[0]


def test_a_damaged_picture_in_a_packed_faceset_is_named(tmp_path: Path) -> None:
    packed = pictures(10)
    packed[3] = packed[3][:200]
    packed[4] = dfl_jpeg(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.")
    (tmp_path / "faceset.pak").write_bytes(faceset_pak(packed, configurations(10)))
    sentence = complaint(tmp_path)
    assert "2 of 10 pictures" in sentence
    assert "faceset.pak/3.jpg (ends early" in sentence
    assert "faceset.pak/4.jpg (carries a pickle that names os.system" in sentence


def test_packed_facesets_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "faceset.pak"
    whole = faceset_pak(pictures(10), configurations(10))
    hostile = b"\x80\x04cposix\nsystem\nX\x01\x00\x00\x00a\x85R."
    far = bytearray(whole)
    table = 16 + struct.unpack_from("<Q", whole, 8)[0]
    struct.pack_into("<Q", far, table + 16, 2**63)
    for data, expected in (
        (whole[:10], "is cut off in its header"),
        (whole[:100], "bytes of configurations where 84 are left"),
        (whole[: table + 30], "is cut off in its table of offsets"),
        (whole[:-5], "is damaged: its picture 9.jpg does not lie inside it"),
        (bytes(far), "is damaged: its picture 1.jpg does not lie inside it"),
        (faceset_pak([], [], version=2), "is of version 2; only version 1 is read"),
        (faceset_pak([], [], length=2**62), f"claims {2**62} bytes of configurations; at most 256 MiB"),
        (faceset_pak([], []), "holds 0 pictures"),
        (faceset_pak([], {}), "its configurations are not a list"),
        (faceset_pak([], [3]), "its picture 1 has no configuration"),
        (faceset_pak([], [{"filename": 3}]), "its picture 1 has no name"),
        (faceset_pak([], [{"filename": "a"}] * 2), "it holds several pictures named a"),
        (faceset_pak([], hostile), "carries a pickle that names posix.system, which could run code"),
    ):
        path.write_bytes(data)
        sentence = complaint(tmp_path)
        assert sentence.startswith(f"{path} ")
        assert expected in sentence
    path.unlink()
    path.mkdir()
    assert complaint(tmp_path) == f"{path} is not a regular file; pack it again with DeepFaceLab."
    path.rmdir()
    path.symlink_to("/dev/zero")
    assert "is a link that leads out of the folder" in complaint(tmp_path)


def test_a_name_shared_by_all_pictures_of_a_pack_counts_against_the_budget_each_time(tmp_path: Path) -> None:
    shared = {"filename": "n" * 200_000, "person_name": None}
    (tmp_path / "faceset.pak").write_bytes(faceset_pak([b"a"], [shared] * 100_000))
    assert "faceset.pak makes its reader do far more work than a file of its size" in complaint(tmp_path)
