"""Where the masks of a swap come from."""

import json

import numpy as np
import pytest
from PIL import Image

from lossarium.facesets.reading import UnreadablePicture
from lossarium.swapping.jobs import find_jobs
from lossarium.swapping.masks import face_mask_of
from tests.facesets.handmade_faces import dfl_fields, dfl_jpeg, face, faceswap_header, faceswap_png
from tests.facesets.handmade_folders import noise, save, write_faceset
from tests.facesets.handmade_pictures import encoded

SIDE = 64
# Away from the border, so that a mask ends inside the picture.
FACE = face(40, shift=(12, 12))


def mask_of(source, side, picture_size=(SIDE, SIDE)):
    job = find_jobs(source, source.parent / "nowhere")[0]
    found = face_mask_of(job, picture_size)
    return None if found is None else found(side)


def assert_is_a_face(mask, side):
    """The handmade face fills the middle, not the corners."""
    assert mask.shape == (side, side)
    assert mask.dtype == np.uint8
    assert mask[side // 2, side // 2] == 255
    assert mask[0, 0] == mask[-1, -1] == 0


@pytest.mark.parametrize("side", [16, 64, 100])
def test_landmarks_that_deepfacelab_stored(tmp_path, side):
    path = tmp_path / "a.jpg"
    path.write_bytes(dfl_jpeg(dfl_fields(FACE), side=SIDE))
    assert_is_a_face(mask_of(path, side), side)


def test_the_mask_that_deepfacelab_stored_takes_precedence_over_its_landmarks(tmp_path):
    path = tmp_path / "a.jpg"
    left = np.zeros((SIDE, SIDE), np.uint8)
    left[:, : SIDE // 2] = 255
    path.write_bytes(dfl_jpeg(dfl_fields(FACE, xseg_mask=encoded(Image.fromarray(left), "PNG")), side=SIDE))
    mask = mask_of(path, SIDE)
    assert mask[:, 2:30].min() == 255
    assert mask[:, 34:].max() == 0
    nothing = encoded(Image.new("L", (8, 8)), "PNG")
    path.write_bytes(dfl_jpeg(dfl_fields(FACE, xseg_mask=nothing), side=SIDE))
    with pytest.raises(UnreadablePicture, match="black everywhere"):
        mask_of(path, SIDE)


def test_landmarks_that_faceswap_stored(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(faceswap_png(faceswap_header(face(200, shift=(40, 30))), side=SIDE))
    assert_is_a_face(mask_of(path, SIDE), SIDE)


def test_landmarks_of_a_faceset_without_masks(tmp_path):
    folder = tmp_path / "ada"
    write_faceset(folder, size=SIDE)
    for mask in (folder / "masks").iterdir():
        mask.unlink()
    (folder / "masks").rmdir()
    landmarks = json.loads((folder / "landmarks.json").read_text())
    (folder / "landmarks.json").write_text(json.dumps(dict.fromkeys(landmarks, FACE.tolist())))
    assert_is_a_face(mask_of(folder, SIDE), SIDE)


def test_a_mask_file_takes_precedence_over_stored_masks(tmp_path):
    path = tmp_path / "frames" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(dfl_jpeg(dfl_fields(FACE), side=SIDE))
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[0, 0] = 255
    save(tmp_path / "masks" / "a.png", pixels)
    assert np.array_equal(mask_of(path, SIDE), pixels)


def test_without_mask_or_landmarks_there_is_no_face_mask(tmp_path):
    save(tmp_path / "a.png", noise(0, SIDE))
    Image.fromarray(noise(1, SIDE)).save(tmp_path / "b.webp")
    assert mask_of(tmp_path / "a.png", SIDE) is None
    assert mask_of(tmp_path / "b.webp", SIDE) is None


def test_code_in_a_picture_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "boom"), "w")

    path = tmp_path / "a.jpg"
    path.write_bytes(dfl_jpeg({"landmarks": Bomb()}, side=SIDE))
    with pytest.raises(UnreadablePicture, match=r"a\.jpg"):
        mask_of(path, SIDE)
    assert not (tmp_path / "boom").exists()
