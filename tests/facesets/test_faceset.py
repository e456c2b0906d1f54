"""How facesets are compared: exact swaps, and the digest of their data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from lossarium.facesets.faceset import Faceset, data_digest, described_split, exact_swaps
from lossarium.facesets.folder import load
from tests.facesets.handmade_folders import SIZE, set_entry, write_faceset


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


def test_data_digest_knows_every_change(tmp_path: Path) -> None:
    write_faceset(tmp_path)
    faceset = load(tmp_path, SIZE).faceset
    digest = data_digest(faceset)
    assert len(bytes.fromhex(digest)) == 32
    assert data_digest(load(tmp_path, SIZE).faceset) == digest
    assert data_digest(replace(faceset, identity="Ben")) == digest
    assert faceset.face_masks is not None
    assert faceset.states is not None
    assert faceset.landmarks is not None

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
        replace(faceset, landmarks=faceset.landmarks + 1),
        replace(faceset, landmarks=None),
        replace(faceset, left_out=np.arange(10) == 1),
        replace(faceset, left_out=np.arange(10) == 2),
        load(tmp_path, SIZE * 2).faceset,
    ]
    assert len({digest, *map(data_digest, others)}) == 1 + len(others)


def test_data_digest_without_landmarks_equals_that_of_older_versions() -> None:
    pixels = np.arange(4 * 2 * 2 * 3, dtype=np.uint8)
    faceset = Faceset("ada", pixels.reshape(4, 2, 2, 3), tuple("abcd"), np.array([True, False, False, True]))
    assert faceset.landmarks is None
    # data_digest of commit 6566367, before facesets had landmarks.
    assert data_digest(faceset) == "b1c65dcdf664e6180e5fb66c4949b1880bc0b9c2988d9b3758db37acf59256b4"


def test_held_out_frames_of_a_state_are_a_block_and_without_states_consecutive_ones() -> None:
    faceset = Faceset(
        "ada",
        frames=np.zeros((8, 2, 2, 3), np.uint8),
        frame_names=tuple("abcdefgh"),
        held_out=np.array([True, True, False, False, True, False, True, True]),
        left_out=np.array([False, False, True, False, False, False, False, False]),
    )
    assert faceset.blocks == ("block 1", "block 1", "block 2", "block 3", "block 3")
    assert np.flatnonzero(faceset.trained).tolist() == [3, 5]
    assert described_split(faceset) == "2 trained on, 5 held out in 3 blocks, 1 left out beside them"
    in_states = replace(faceset, states=("x", "y", "x", "y", "x", "y", "z", "z"), left_out=None)
    assert in_states.blocks == ("x", "y", "x", "z", "z")
    assert described_split(in_states) == "3 trained on, 5 held out in 3 blocks"
    alone = replace(faceset, held_out=np.arange(8) % 2 == 0, left_out=None)
    assert described_split(alone) == "4 trained on, 4 held out"
