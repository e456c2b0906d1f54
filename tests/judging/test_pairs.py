"""Pairing the pictures of two folders, whatever their format."""

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.judging.measuring import columns, measure
from lossarium.judging.pairs import find_pairs
from tests.facesets.handmade_faces import dfl_fields, dfl_jpeg, face, faceset_pak
from tests.facesets.handmade_folders import noise, save


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


NFC, NFD, MIXED = "\u00e9t\u00e9", "e\u0301te\u0301", "\u00e9te\u0301"


def test_names_match_however_accents_are_stored(tmp_path):
    for seed in range(3):
        save(tmp_path / "ref" / f"{NFC}{seed}.png", noise(seed, 16))
        save(tmp_path / "test" / f"{NFD}{seed}.png", noise(seed, 16))
        save(tmp_path / "masks" / f"{MIXED}{seed}.png", noise(100 + seed, 16)[..., 0])
    found = find_pairs(tmp_path / "ref", tmp_path / "test", tmp_path / "masks")
    assert [pair.name for pair in found.pairs] == [f"{NFC}{seed}" for seed in range(3)]
    assert [pair.test.name for pair in found.pairs] == [f"{NFD}{seed}.png" for seed in range(3)]
    assert [pair.mask.path.name for pair in found.pairs] == [f"{MIXED}{seed}.png" for seed in range(3)]
    # A partner of exactly the same name takes precedence, and the other one has none.
    save(tmp_path / "test" / f"{NFC}0.png", noise(9, 16))
    with pytest.raises(LossariumError, match="1 picture has no partner of the same name"):
        find_pairs(tmp_path / "ref", tmp_path / "test")
    save(tmp_path / "ref" / f"{NFD}0.png", noise(9, 16))
    pairs = find_pairs(tmp_path / "ref", tmp_path / "test").pairs
    assert {(pair.reference.name, pair.test.name) for pair in pairs} >= {
        (f"{NFC}0.png", f"{NFC}0.png"),
        (f"{NFD}0.png", f"{NFD}0.png"),
    }


def test_ambiguous_names_are_refused(tmp_path):
    for name in (NFC, NFD):
        save(tmp_path / "ref" / f"{name}.png", noise(0, 16))
    save(tmp_path / "test" / f"{MIXED}.png", noise(0, 16))
    with pytest.raises(LossariumError, match="look the same and differ only in how their accents"):
        find_pairs(tmp_path / "ref", tmp_path / "test")


def test_linked_folders_are_measured_on_request(tmp_path):
    for folder in ("ref", "test"):
        save(tmp_path / folder / "0.png", noise(0, 16))
        save(tmp_path / f"more {folder}" / "1.png", noise(1, 16))
        (tmp_path / folder / "more").symlink_to(tmp_path / f"more {folder}", target_is_directory=True)
    found = find_pairs(tmp_path / "ref", tmp_path / "test")
    assert len(found.pairs) == 1
    assert len(found.notes) == 2
    assert "1 linked folder is not followed (more)" in found.notes[0]
    found = find_pairs(tmp_path / "ref", tmp_path / "test", follow_links=True)
    assert [pair.name for pair in found.pairs] == ["0", "more/1"]
    assert found.notes == ()
