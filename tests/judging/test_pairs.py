"""Folders are matched whatever kind of faceset they are."""

import numpy as np

from lossarium.judging.measuring import columns, measure
from lossarium.judging.pairs import find_pairs
from tests.facesets.handmade_faces import dfl_fields, dfl_jpeg, face, faceset_pak
from tests.facesets.handmade_folders import save


def test_a_packed_faceset_against_loose_pictures_with_masks_beside_them(tmp_path):
    pictures = {f"{seed}.jpg": dfl_jpeg(dfl_fields(face()), side=32, seed=seed) for seed in range(3)}
    (tmp_path / "packed").mkdir()
    configurations = [{"filename": name} for name in pictures]
    packed = faceset_pak(list(pictures.values()), configurations)
    (tmp_path / "packed" / "faceset.pak").write_bytes(packed)
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    for name, data in pictures.items():
        save((tmp_path / "loose" / "masks" / name).with_suffix(".png"), mask)
        (tmp_path / "loose" / name).write_bytes(data)
    found = find_pairs(tmp_path / "packed", tmp_path / "loose", tmp_path / "loose")
    assert [pair.name for pair in found.pairs] == ["0", "1", "2"]
    assert [pair.mask.path.name for pair in found.pairs] == ["0.png", "1.png", "2.png"]
    assert measure(found.pairs, columns("mae")).means == (0.0,)
