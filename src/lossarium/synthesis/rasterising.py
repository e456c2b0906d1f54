"""Rasterise triangles: find the visible one at each sample, and make depth maps for shadows.

Screen coordinates are in samples, x right and y down, with sample centres at halves; the third coordinate
grows towards the viewer. All arithmetic that decides coverage is float64 without reordering, so that pictures
do not depend on the machine.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.compiling import compiled, inlined
from lossarium.synthesis.mesh import Floats
from lossarium.synthesis.noise import noise_at

_EDGE_TOLERANCE = 1e-7
"""Samples this far outside an edge still count, so that no gap opens between neighbours."""

NO_TRIANGLE = -1


@dataclass(frozen=True)
class Visibility:
    """The visible triangle at each sample of a (rows, columns) picture; `rasterise` fills it in place."""

    triangle: npt.NDArray[np.int32]
    """(rows, columns) index of the nearest triangle, or `NO_TRIANGLE`."""
    weights: npt.NDArray[np.float32]
    """(rows, columns, 2) perspective-correct weights of its first two corners; undefined without triangle."""
    nearness: Floats
    """(rows, columns) third screen coordinate; 0 without triangle."""


def empty_visibility(rows: int, columns: int) -> Visibility:
    """The visibility of a picture without triangles."""
    return Visibility(
        np.full((rows, columns), NO_TRIANGLE, dtype=np.int32),
        np.empty((rows, columns, 2), dtype=np.float32),
        np.zeros((rows, columns)),
    )


@inlined
def _corners(screen: Floats, a: int, b: int, c: int) -> tuple[float, float, float, float, float, float]:
    """x, y of a triangle's corners."""
    return screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]


@inlined
def _covered(first: float, second: float, third: float, length: int) -> tuple[int, int]:
    """The first and the last sample of a row or column whose centre may lie between three coordinates."""
    begin = max(0, int(np.ceil(min(first, second, third) - 0.5)))
    return begin, min(length - 1, int(np.floor(max(first, second, third) - 0.5)))


@inlined
def _outside(w0: float, w1: float, w2: float) -> bool:
    """Whether barycentric weights belong to a point outside the triangle."""
    return w0 < -_EDGE_TOLERANCE or w1 < -_EDGE_TOLERANCE or w2 < -_EDGE_TOLERANCE


@compiled
def _rasterise(
    screen: Floats,
    triangles: npt.NDArray[np.int32],
    keep_back_faces: bool,
    shown: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    nearness: Floats,
) -> None:
    rows, columns = shown.shape
    for number in range(triangles.shape[0]):
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        x0, y0, x1, y1, x2, y2 = _corners(screen, a, b, c)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0 or (area > 0.0 and not keep_back_faces):
            continue
        left, right = _covered(x0, x1, x2, columns)
        top, bottom = _covered(y0, y1, y2, rows)
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        near0, near1, near2 = screen[a, 2], screen[b, 2], screen[c, 2]
        for row in range(top, bottom + 1):
            dy = row + 0.5 - y0
            for column in range(left, right + 1):
                dx = column + 0.5 - x0
                w1 = (dx * (y2 - y0) - (x2 - x0) * dy) * inverse
                w2 = ((x1 - x0) * dy - dx * (y1 - y0)) * inverse
                w0 = 1.0 - w1 - w2
                if _outside(w0, w1, w2):
                    continue
                near = w0 * near0 + w1 * near1 + w2 * near2
                if near > nearness[row, column]:
                    nearness[row, column] = near
                    shown[row, column] = number
                    weights[row, column, 0] = w0 * near0 / near
                    weights[row, column, 1] = w1 * near1 / near


def rasterise(
    screen: Floats, triangles: npt.NDArray[np.int32], visibility: Visibility, *, keep_back_faces: bool = False
) -> None:
    """Draw triangles (F, 3) into `visibility`, in front of what it already shows.

    Args:
        screen: (V, 3) x, y in samples and 1 / distance (or 1), which must be positive.
        triangles: vertex indices, counter-clockwise seen from the front.
        visibility: changed in place.
        keep_back_faces: whether to draw triangles that are seen from behind, too.
    """
    _rasterise(
        screen, triangles, keep_back_faces, visibility.triangle, visibility.weights, visibility.nearness
    )


@compiled
def _rasterise_strands(
    screen: Floats,
    triangles: npt.NDArray[np.int32],
    chosen: npt.NDArray[np.int32],
    strands: Floats,
    height: float,
    seed: int,
    shown: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    nearness: Floats,
) -> None:
    rows, columns = shown.shape
    for number in chosen:
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        x0, y0, x1, y1, x2, y2 = _corners(screen, a, b, c)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0.0:
            continue
        left, right = _covered(x0, x1, x2, columns)
        top, bottom = _covered(y0, y1, y2, rows)
        inverse = 1.0 / area
        for row in range(top, bottom + 1):
            dy = row + 0.5 - y0
            for column in range(left, right + 1):
                dx = column + 0.5 - x0
                w1 = (dx * (y2 - y0) - (x2 - x0) * dy) * inverse
                w2 = ((x1 - x0) * dy - dx * (y1 - y0)) * inverse
                w0 = 1.0 - w1 - w2
                if _outside(w0, w1, w2):
                    continue
                near = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                if near <= nearness[row, column]:
                    continue
                across = w0 * strands[a, 0] + w1 * strands[b, 0] + w2 * strands[c, 0]
                along = w0 * strands[a, 1] + w1 * strands[b, 1] + w2 * strands[c, 1]
                hair = noise_at(across * 700.0, along * 14.0, height, seed)
                lock = noise_at(across * 110.0, along * 16.0, 0.5, seed + 1)
                if hair + 0.7 * lock < 0.7 * height - 0.05:
                    continue
                nearness[row, column] = near
                shown[row, column] = number
                weights[row, column, 0] = w0
                weights[row, column, 1] = w1


def rasterise_strands(
    screen: Floats,
    triangles: npt.NDArray[np.int32],
    chosen: npt.NDArray[np.int32],
    strands: Floats,
    height: float,
    seed: int,
    visibility: Visibility,
) -> None:
    """Draw a shell of loose hair into `visibility`: a raised copy of the scalp that is drawn only at hairs.

    Args:
        screen: (V, 3) as in `rasterise`, of the shell; only vertices of chosen triangles are read.
        triangles: (F, 3).
        chosen: indices of the triangles with hair.
        strands: (V, 2) coordinates across and along the strands, metres.
        height: the shell's height, 0 at the bottom and 1 at the top, which few hairs reach.
        seed: the seed of the strands.
        visibility: changed in place.
    """
    _rasterise_strands(
        screen,
        triangles,
        chosen,
        strands,
        height,
        seed,
        visibility.triangle,
        visibility.weights,
        visibility.nearness,
    )


@compiled
def depth_map(screen: Floats, triangles: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.float32]:
    """The third coordinate (size, size) of the surface nearest to a light, or -1e9 without any.

    Triangles that face away from the light are skipped, since others are in front of them.
    """
    depth = np.full((size, size), -1e9, dtype=np.float32)
    for number in range(triangles.shape[0]):
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        x0, y0, x1, y1, x2, y2 = _corners(screen, a, b, c)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area <= 0.0:
            continue
        left, right = _covered(x0, x1, x2, size)
        top, bottom = _covered(y0, y1, y2, size)
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        near0, near1, near2 = screen[a, 2], screen[b, 2], screen[c, 2]
        for row in range(top, bottom + 1):
            dy = row + 0.5 - y0
            for column in range(left, right + 1):
                dx = column + 0.5 - x0
                w1 = (dx * (y2 - y0) - (x2 - x0) * dy) * inverse
                w2 = ((x1 - x0) * dy - dx * (y1 - y0)) * inverse
                w0 = 1.0 - w1 - w2
                if _outside(w0, w1, w2):
                    continue
                near = np.float32(w0 * near0 + w1 * near1 + w2 * near2)
                depth[row, column] = max(depth[row, column], near)
    return depth


@compiled
def vertex_normals(vertices: Floats, triangles: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Unit normals (V, 3), weighted by the triangles' areas; zero at vertices that no triangle uses."""
    sums = np.zeros(vertices.shape)
    for number in range(triangles.shape[0]):
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in range(3):
            vertex = triangles[number, corner]
            sums[vertex, 0] += nx
            sums[vertex, 1] += ny
            sums[vertex, 2] += nz
    normals = np.empty(vertices.shape, dtype=np.float32)
    for vertex in range(vertices.shape[0]):
        x, y, z = sums[vertex, 0], sums[vertex, 1], sums[vertex, 2]
        length = np.sqrt(x * x + y * y + z * z) + 1e-12
        normals[vertex, 0], normals[vertex, 1], normals[vertex, 2] = x / length, y / length, z / length
    return normals


@compiled
def _project(vertices: Floats, axes: Floats, offset: Floats) -> Floats:
    projected = np.empty(vertices.shape)
    for vertex in range(vertices.shape[0]):
        for axis in range(3):
            projected[vertex, axis] = (
                axes[axis, 0] * vertices[vertex, 0]
                + axes[axis, 1] * vertices[vertex, 1]
                + axes[axis, 2] * vertices[vertex, 2]
                + offset[axis]
            )
    return projected


@dataclass(frozen=True)
class LightView:
    """The projection of a distant light: `axes @ point + offset` is texel x, texel y, metres to the light."""

    axes: Floats
    """(3, 3)."""
    offset: Floats
    """(3,)."""

    def project(self, vertices: Floats) -> Floats:
        """Project points (V, 3) to (V, 3)."""
        return _project(vertices, self.axes, self.offset)


HEAD_CENTRE = (0.0, -0.04, 0.70)
"""Metres; shadow maps are centred here."""


def light_view(direction: Floats, size: int, width: float) -> LightView:
    """Look at the head from a light.

    Args:
        direction: (3,) unit vector towards the light.
        size: texels per side of the map.
        width: metres a side of the map.
    """
    upward = np.array([0.0, 0.0, 1.0]) if abs(direction[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    rightward = np.cross(upward, direction)
    rightward /= np.sqrt((rightward**2).sum())
    texels = size / width
    axes = np.stack([rightward * texels, np.cross(direction, rightward) * texels, direction])
    offset = np.array([size / 2, size / 2, 0.0]) - (axes * np.asarray(HEAD_CENTRE)).sum(1)
    return LightView(axes, offset)
