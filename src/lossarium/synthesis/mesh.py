"""Meshes: reading Wavefront OBJ and MakeHuman `.target` files, Catmull-Clark subdivision, triangles.

World coordinates everywhere in this package: metres, x to the person's left (right in the picture), y away
from the camera, z up. MakeHuman's files are in decimetres, with y up and z towards the camera.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from lossarium.errors import LossariumError

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]
SparseMatrix: TypeAlias = Any  # scipy.sparse.csr_matrix; scipy ships no types

# For kernels: unlike small arrays, tuples stay in registers and are not reference-counted.
Vector: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = tuple[Vector, Vector, Vector]
"""Three rows."""

METRES_PER_UNIT = 0.1


@dataclass(frozen=True)
class FaceGroup:
    """The quads of one named group of an OBJ file."""

    vertices: Indices
    """(F, 4) vertex indices, counter-clockwise seen from outside."""
    texture_coordinates: Indices
    """(F, 4) texture coordinate indices."""


@dataclass(frozen=True)
class ObjMesh:
    """A quad mesh as read from an OBJ file."""

    vertices: Floats
    """(V, 3) world coordinates, metres."""
    texture_coordinates: Floats
    """(T, 2) u to the right and v up, in [0, 1]."""
    groups: dict[str, FaceGroup]


@dataclass(frozen=True)
class SubdividedMesh:
    """One level of Catmull-Clark subdivision: the fine vertices are `matrix @ coarse_vertices`."""

    matrix: SparseMatrix
    """(V', V); every row sums to 1."""
    quads: Indices
    """(4 F, 4) indices of fine vertices."""
    texture_coordinates: Floats
    """(4 F, 4, 2) texture coordinates of each quad's corners."""
    parent_faces: Indices
    """(4 F,) index of the coarse face of each quad."""


def as_vector(values: Floats) -> Vector:
    """The three numbers of an array (3,)."""
    x, y, z = values.tolist()
    return x, y, z


def as_matrix(values: Floats) -> Matrix:
    """The three rows of an array (3, 3)."""
    first, second, third = values
    return as_vector(first), as_vector(second), as_vector(third)


def to_world(makehuman: Floats) -> Floats:
    """Convert MakeHuman's coordinates or offsets (N, 3) in decimetres to world axes in metres."""
    return np.stack([makehuman[:, 0], -makehuman[:, 2], makehuman[:, 1]], axis=1) * METRES_PER_UNIT


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh of quads with texture coordinates.

    Raises:
        LossariumError: a face is not a quad of `vertex/texture` pairs.
    """
    vertices: list[list[float]] = []
    texture_coordinates: list[list[float]] = []
    corners: dict[str, list[list[list[int]]]] = {}
    group = "default"
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            keyword, *values = line.split() or [""]
            if keyword == "v":
                vertices.append([float(value) for value in values[:3]])
            elif keyword == "vt":
                texture_coordinates.append([float(value) for value in values[:2]])
            elif keyword == "g":
                group = values[0]
            elif keyword == "f":
                face = [[int(index) - 1 for index in corner.split("/")[:2]] for corner in values]
                if [len(corner) for corner in face] != [2, 2, 2, 2]:
                    raise LossariumError(f"{path} line {number} is not a quad with texture coordinates.")
                corners.setdefault(group, []).append(face)
    groups = {}
    for name, faces in corners.items():
        indices = np.asarray(faces, dtype=np.int64)
        groups[name] = FaceGroup(indices[..., 0].copy(), indices[..., 1].copy())
    return ObjMesh(to_world(np.asarray(vertices)), np.asarray(texture_coordinates), groups)


def read_target(path: Path, vertex_count: int) -> Floats:
    """Read a MakeHuman morph target, `.target` or `.target.gz`: rows of `vertex dx dy dz` in decimetres.

    Returns:
        (vertex_count, 3) offsets in metres, world axes; zero where the file names no vertex.

    Raises:
        LossariumError: the file is missing, or a row is not a vertex of the mesh with three numbers.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except OSError as error:
        raise LossariumError(f"The morph target {path} cannot be read: {error.strerror or error}.") from error
    rows = [line.split() for line in raw.decode("utf-8").splitlines() if line.strip() and line[0] != "#"]
    offsets = np.zeros((vertex_count, 3))
    if not rows:
        return offsets
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise LossariumError(f"The morph target {path} has a row that is not four numbers.") from error
    vertices = table[:, 0].astype(np.int64)
    if table.shape[1] != 4 or vertices.min() < 0 or vertices.max() >= vertex_count:
        raise LossariumError(f"The morph target {path} does not fit a mesh of {vertex_count} vertices.")
    offsets[vertices] = to_world(table[:, 1:])
    return offsets


def connected_islands(faces: Indices, count: int) -> Indices:
    """Number the connected components of a mesh.

    Args:
        faces: (F, 4) indices of vertices or of texture coordinates.
        count: the number of these vertices or texture coordinates.

    Returns:
        (F,) the component of each face.
    """
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    return np.asarray(labels[faces[:, 0]], dtype=np.int64)


def split_quads(quads: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Split quads, or values at their corners, (F, 4, ...), into triangles (2 F, 3, ...).

    All first halves come before all second halves.
    """
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _incidence(rows: Indices, columns: Indices, shape: tuple[int, int], value: float = 1.0) -> SparseMatrix:
    return sparse.csr_matrix((np.full(len(rows), value), (rows, columns)), shape=shape)


def _row_sums(matrix: SparseMatrix) -> Floats:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def catmull_clark(faces: Indices, vertex_count: int, corner_texture_coordinates: Floats) -> SubdividedMesh:
    """One level of Catmull-Clark subdivision of a quad mesh, as a matrix: posing costs one product.

    Borders follow the cubic B-spline rule (1/8, 3/4, 1/8). Texture coordinates are subdivided linearly, which
    leaves the texture's seams unchanged.

    Args:
        faces: (F, 4) vertex indices.
        vertex_count: V; vertices that no face uses are not moved.
        corner_texture_coordinates: (F, 4, 2).

    Source: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes",
        1978.
    """
    face_count = len(faces)
    half_edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, edge_of_half = np.unique(np.sort(half_edges, axis=1), axis=0, return_inverse=True)
    edge_of_corner = edge_of_half.reshape(face_count, 4)
    edge_count = len(edges)
    faces_of_edge = np.bincount(edge_of_corner.ravel(), minlength=edge_count)
    face_of_corner = np.repeat(np.arange(face_count), 4)

    face_points = _incidence(face_of_corner, faces.ravel(), (face_count, vertex_count), 0.25)
    edge_ends = np.repeat(np.arange(edge_count), 2)
    midpoints = _incidence(edge_ends, edges.ravel(), (edge_count, vertex_count), 0.5)
    edge_faces = _incidence(edge_of_corner.ravel(), face_of_corner, (edge_count, face_count))
    interior = (faces_of_edge == 2).astype(np.float64)
    edge_points = sparse.diags(interior) @ (midpoints * 0.5 + (edge_faces @ face_points) * 0.25)
    edge_points = edge_points + sparse.diags(1.0 - interior) @ midpoints

    quads, corners = [], corner_texture_coordinates
    first_edge, first_face = vertex_count, vertex_count + edge_count
    quad_corners = []
    for corner in range(4):
        following, preceding = (corner + 1) % 4, corner - 1
        next_edge, previous_edge = edge_of_corner[:, corner], edge_of_corner[:, preceding]
        centre = first_face + np.arange(face_count)
        quads.append(
            np.stack([faces[:, corner], first_edge + next_edge, centre, first_edge + previous_edge], 1)
        )
        here, after, before = corners[:, corner], corners[:, following], corners[:, preceding]
        quad_corners.append(np.stack([here, (here + after) / 2, corners.mean(1), (here + before) / 2], 1))
    matrix = sparse.vstack(
        [_vertex_points(faces, edges, faces_of_edge, face_points, midpoints), edge_points, face_points]
    ).tocsr()
    matrix.eliminate_zeros()
    return SubdividedMesh(
        matrix, np.concatenate(quads), np.concatenate(quad_corners), np.tile(np.arange(face_count), 4)
    )


def _vertex_points(
    faces: Indices, edges: Indices, faces_of_edge: Indices, face_points: SparseMatrix, midpoints: SparseMatrix
) -> SparseMatrix:
    """The rows of the subdivision matrix that move the old vertices."""
    face_count, vertex_count = face_points.shape
    edge_count = len(edges)
    vertex_faces = _incidence(faces.ravel(), np.repeat(np.arange(face_count), 4), (vertex_count, face_count))
    vertex_edges = _incidence(edges.ravel(), np.repeat(np.arange(edge_count), 2), (vertex_count, edge_count))
    valence = np.maximum(_row_sums(vertex_faces), 1.0)
    edge_valence = np.maximum(_row_sums(vertex_edges), 1.0)
    face_average = sparse.diags(1 / valence) @ vertex_faces @ face_points
    edge_average = sparse.diags(1 / edge_valence) @ vertex_edges @ midpoints
    inside = sparse.diags(1 / valence) @ (face_average + 2 * edge_average) + sparse.diags(
        (valence - 3) / valence
    )

    border_edges = edges[faces_of_edge == 1]
    neighbours = _incidence(
        np.concatenate([border_edges[:, 0], border_edges[:, 1]]),
        np.concatenate([border_edges[:, 1], border_edges[:, 0]]),
        (vertex_count, vertex_count),
    )
    smooth_border = _row_sums(neighbours) == 2
    on_border = np.ones(vertex_count, dtype=np.bool_)  # also the vertices of no face
    on_border[faces.ravel()] = False
    on_border[edges[faces_of_edge != 2].ravel()] = True
    border = sparse.diags(smooth_border * 0.125) @ neighbours + sparse.diags(
        np.where(smooth_border, 0.75, 1.0)
    )
    return (
        sparse.diags((~on_border).astype(np.float64)) @ inside
        + sparse.diags(on_border.astype(np.float64)) @ border
    )
