"""Reading meshes and targets, and Catmull-Clark subdivision."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.synthesis.mesh import (
    Floats,
    Indices,
    catmull_clark,
    connected_islands,
    read_obj,
    read_target,
    split_quads,
)
from tests.bounds import rounding_error

EXACT = rounding_error(2, torch.float64)
# A vertex is a sum of up to nine others, each with a weight that is made of a few divisions.
WEIGHED = rounding_error(9 + 8, torch.float64)
CUBE_FACES: Indices = np.array(
    [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
)
CUBE_CORNERS: Floats = np.array(
    [[x, y, z] for z in (-1, 1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], dtype=np.float64
)
NO_TEXTURE: Floats = np.zeros((6, 4, 2))


@pytest.mark.parametrize("suffix", ["target", "target.gz"])
def test_target_is_read_in_world_axes_and_metres(tmp_path: Path, suffix: str) -> None:
    text = b"# a comment\n\n2 1.0 2.0 3.0\n0 0 .5 -1\n"
    path = tmp_path / f"smile.{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    offsets = read_target(path, 4)
    expected = np.array([[0, 0.1, 0.05], [0, 0, 0], [0.1, -0.3, 0.2], [0, 0, 0]])
    # Each is a tenth of what stands there, rounded once; 0.1 is rounded, too.
    np.testing.assert_allclose(offsets, expected, rtol=EXACT, atol=0)


def test_empty_target_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "still.target").write_text("# nothing\n")
    assert not read_target(tmp_path / "still.target", 3).any()


@pytest.mark.parametrize("text", ["5 0 0 0\n", "-1 0 0 0\n", "0 1 2\n", "0 a b c\n", "0 1 2 3\n1 2\n"])
def test_target_that_does_not_fit_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.target").write_text(text)
    with pytest.raises(LossariumError, match=r"bad\.target"):
        read_target(tmp_path / "bad.target", 5)


def test_missing_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LossariumError, match="cannot be read"):
        read_target(tmp_path / "none.target", 5)


def test_obj_groups_and_indices(tmp_path: Path) -> None:
    (tmp_path / "square.obj").write_text(
        "v 1 2 3\nv 0 0 0\nv 0 1 0\nv 0 1 1\nvt 0 .5\nvt 1 1\ng eye\nf 1/1 2/2 3/1 4/2\n"
    )
    mesh = read_obj(tmp_path / "square.obj")
    np.testing.assert_allclose(mesh.vertices[0], [0.1, -0.3, 0.2], rtol=EXACT)
    assert mesh.groups["eye"].vertices.tolist() == [[0, 1, 2, 3]]
    assert mesh.groups["eye"].texture_coordinates.tolist() == [[0, 1, 0, 1]]


def test_obj_with_a_triangle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "triangle.obj").write_text("v 1 2 3\nvt 0 0\nf 1/1 1/1 1/1\n")
    with pytest.raises(LossariumError, match="line 3"):
        read_obj(tmp_path / "triangle.obj")


def test_subdivided_cube_has_known_counts_and_shape() -> None:
    fine = catmull_clark(CUBE_FACES, 8, NO_TEXTURE)
    assert fine.matrix.shape == (26, 8)
    assert fine.quads.shape == (24, 4)
    vertices = fine.matrix @ CUBE_CORNERS
    np.testing.assert_allclose(
        np.abs(vertices[:8]), 5 / 9, rtol=WEIGHED
    )  # known: a cube's corner moves to 5/9
    np.testing.assert_allclose(np.abs(vertices[8:20]).max(1), 0.75, rtol=WEIGHED)  # edge points
    np.testing.assert_allclose(np.abs(vertices[20:]).max(1), 1.0, rtol=WEIGHED)  # face points


def test_subdivision_rows_sum_to_one_on_open_and_closed_meshes() -> None:
    for faces in (CUBE_FACES, CUBE_FACES[:3]):
        fine = catmull_clark(faces, 9, NO_TEXTURE[: len(faces)])
        np.testing.assert_allclose(np.asarray(fine.matrix.sum(axis=1)).ravel(), 1.0, rtol=WEIGHED)
        np.testing.assert_array_equal((fine.matrix @ np.eye(9))[8], np.eye(9)[8])  # of no face, hence unmoved


def test_subdivision_keeps_orientation() -> None:
    fine = catmull_clark(CUBE_FACES, 8, NO_TEXTURE)
    corners = (fine.matrix @ CUBE_CORNERS)[split_quads(fine.quads)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * corners.mean(1)).sum(1) > 0).all()


def test_islands() -> None:
    faces = np.array([[0, 1, 2, 3], [2, 3, 4, 5], [6, 7, 8, 9]])
    islands = connected_islands(faces, 10)
    assert islands[0] == islands[1] != islands[2]
