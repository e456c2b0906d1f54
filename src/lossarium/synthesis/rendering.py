"""Rendering one frame: an identity in a state becomes a picture, its masks and its landmarks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.background import render_background
from lossarium.synthesis.baking import JAW_OPEN, TEXTURE_EXTENT, TEXTURE_ORIGIN, BakedIdentity
from lossarium.synthesis.compiling import compiled, inlined
from lossarium.synthesis.head import HeadModel
from lossarium.synthesis.landmarks import LEFT_EYE, LEFT_MOUTH_CORNER, RIGHT_EYE, RIGHT_MOUTH_CORNER
from lossarium.synthesis.materials import EyeLook
from lossarium.synthesis.mesh import Floats, Vector, as_matrix, as_vector
from lossarium.synthesis.painting import linear
from lossarium.synthesis.rasterising import (
    Visibility,
    depth_map,
    empty_visibility,
    light_view,
    rasterise,
    rasterise_strands,
    vertex_normals,
)
from lossarium.synthesis.shading import (
    SHADOW_MAP_SIZE,
    SHADOW_MAP_WIDTH,
    Lighting,
    Samples,
    Surface,
    develop,
    shade,
)
from lossarium.synthesis.shape import expression_vertices
from lossarium.synthesis.states import Crop, FrameState

SAMPLES_A_SIDE = 3
"""Samples along each side of a pixel: nine per pixel."""

CAMERA: Floats = np.array([0.0, -1.25, 0.70])
"""Metres; looks along +y."""
_NECK_PIVOT: Floats = np.array([0.0, -0.02, 0.655])
"""Metres; the head turns about this point."""

# Where alignment puts the centres of the eyes and the corners of the mouth at zoom 1, the person's right side
# first, as shares of the frame's side. Zooming scales about the first of the centres and moves it to the
# second.
_ALIGNED: Floats = np.array([[0.345, 0.425], [0.655, 0.425], [0.375, 0.735], [0.625, 0.735]])
_ZOOM_CENTRE: Floats = np.array([0.5, 0.56])
_FACE_CENTRE: Floats = np.array([0.5, 0.52])

_HAIR_SHELLS = (0.3, 0.65, 1.0)
"""Heights of the shells of loose hair, relative to the highest."""
_LOOSE_HAIR = 0.45
"""Height of the highest shell as a share of the hair's thickness."""

_LASH_COLOUR = (22.0, 15.0, 12.0)


@dataclass(frozen=True)
class RenderedFrame:
    """A frame of `size` pixels a side."""

    picture: npt.NDArray[np.uint8]
    """(size, size, 3) sRGB."""
    masks: npt.NDArray[np.uint8]
    """(size, size, 4) face, eyes, mouth, foreground; soft at the edges."""
    landmarks: Floats
    """(68, 2) x, y in pixels, iBUG order; pixel centres at halves."""
    alignment: Floats
    """(2, 3) from the camera's image plane at unit distance (x right, y down) to pixels."""


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Floats:
    """The rotation (3, 3) by angles in degrees: first roll about the line of sight, then pitch, then yaw."""
    cos_yaw, sin_yaw = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    cos_pitch, sin_pitch = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    cos_roll, sin_roll = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    yawing = np.array([[cos_yaw, -sin_yaw, 0], [sin_yaw, cos_yaw, 0], [0, 0, 1]])
    pitching = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
    rolling = np.array([[cos_roll, 0, sin_roll], [0, 1, 0], [-sin_roll, 0, cos_roll]])
    return np.asarray(yawing @ pitching @ rolling)


@compiled
def _turn(vertices: Floats, share: Floats, rotation: Floats, pivot: Floats) -> Floats:
    """Rotate each vertex (V, 3) about the pivot, blended with its old position by its share (V,)."""
    turned = np.empty(vertices.shape)
    for vertex in range(vertices.shape[0]):
        x, y, z = (
            vertices[vertex, 0] - pivot[0],
            vertices[vertex, 1] - pivot[1],
            vertices[vertex, 2] - pivot[2],
        )
        follow = share[vertex]
        for axis in range(3):
            there = rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z + pivot[axis]
            turned[vertex, axis] = vertices[vertex, axis] + follow * (there - vertices[vertex, axis])
    return turned


@inlined
def _screen_place(x: float, y: float, z: float, camera: Floats, alignment: Floats) -> Vector:
    """Screen x, y and 1 / distance of a point in world coordinates."""
    inverse = 1.0 / (y - camera[1])
    rightward, downward = (x - camera[0]) * inverse, (camera[2] - z) * inverse
    return (
        alignment[0, 0] * rightward + alignment[0, 1] * downward + alignment[0, 2],
        alignment[1, 0] * rightward + alignment[1, 1] * downward + alignment[1, 2],
        inverse,
    )


@compiled
def _to_screen(vertices: Floats, camera: Floats, alignment: Floats) -> Floats:
    """Screen x, y and 1 / distance (V, 3), of world coordinates (V, 3)."""
    screen = np.empty(vertices.shape)
    for vertex in range(vertices.shape[0]):
        x, y, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
        screen[vertex, 0], screen[vertex, 1], screen[vertex, 2] = _screen_place(x, y, z, camera, alignment)
    return screen


@compiled
def _hair_to_screen(
    vertices: Floats, offsets: Floats, share: float, rotation: Floats, camera: Floats, alignment: Floats
) -> Floats:
    """`_to_screen` of vertices raised by a share of their hair offsets (V, 3), which rotate with the head.

    The result is undefined for vertices without hair.
    """
    screen = np.empty(vertices.shape)
    for vertex in range(vertices.shape[0]):
        right, back, up = offsets[vertex, 0] * share, offsets[vertex, 1] * share, offsets[vertex, 2] * share
        if right == 0.0 and back == 0.0 and up == 0.0:
            continue
        x = vertices[vertex, 0] + (rotation[0, 0] * right + rotation[0, 1] * back + rotation[0, 2] * up)
        y = vertices[vertex, 1] + (rotation[1, 0] * right + rotation[1, 1] * back + rotation[1, 2] * up)
        z = vertices[vertex, 2] + (rotation[2, 0] * right + rotation[2, 1] * back + rotation[2, 2] * up)
        screen[vertex, 0], screen[vertex, 1], screen[vertex, 2] = _screen_place(x, y, z, camera, alignment)
    return screen


_IMAGE_PLANE: Floats = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def similarity(source: Floats, target: Floats) -> Floats:
    """The rotation, scale and shift, as a matrix (2, 3), that best maps points (N, 2) to others (N, 2).

    Least squares, in closed form with complex numbers; reflections are not considered.
    """
    a, b = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = a - a.mean()
    factor = (centred.conj() * (b - b.mean())).sum() / (np.abs(centred) ** 2).sum()
    shift = b.mean() - factor * a.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _crop_matrix(crop: Crop) -> Floats:
    """The error of imperfect alignment, as a matrix (3, 3) on positions in shares of the frame's side."""
    scale, angle = np.exp(crop.log_scale), np.radians(crop.roll)
    linear_part = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear_part
    matrix[:2, 2] = 0.5 - linear_part @ [0.5, 0.5] + [crop.shift_right, crop.shift_down]
    return matrix


def align(image_plane_landmarks: Floats, crop: Crop, size: int) -> Floats:
    """The matrix (2, 3) from the image plane to pixels that aligns eyes and mouth as facesets do.

    Args:
        image_plane_landmarks: (68, 2).
        crop: zoom, and the error of the alignment.
        size: side of the frame in pixels.
    """
    points = np.stack(
        [
            image_plane_landmarks[RIGHT_EYE].mean(0),
            image_plane_landmarks[LEFT_EYE].mean(0),
            image_plane_landmarks[RIGHT_MOUTH_CORNER],
            image_plane_landmarks[LEFT_MOUTH_CORNER],
        ]
    )
    wanted = (_ALIGNED - _ZOOM_CENTRE) * crop.zoom + _FACE_CENTRE
    matrix = _crop_matrix(crop) @ np.vstack([similarity(points, wanted), [0.0, 0.0, 1.0]])
    return np.asarray(matrix[:2] * size)


def _see(
    head: HeadModel,
    baked: BakedIdentity,
    vertices: Floats,
    head_rotation: Floats,
    alignment: Floats,
    side: int,
) -> tuple[Visibility, Visibility]:
    """The visibility of the head with its loose hair, and that of the lashes in front of it."""
    opaque = empty_visibility(side, side)
    screen = _to_screen(vertices, CAMERA, alignment)
    rasterise(screen, head.opaque.vertices, opaque)
    hair = baked.identity.hair
    for height in _HAIR_SHELLS if hair.loose > 0 else ():
        share = hair.loose * _LOOSE_HAIR * height
        shell = _hair_to_screen(vertices, baked.hair_offsets, share, head_rotation, CAMERA, alignment)
        rasterise_strands(
            shell,
            head.opaque.vertices,
            baked.hair_triangles,
            baked.strands,
            height,
            baked.identity.seed,
            opaque,
        )
    empty = empty_visibility(side, side)
    lashes = Visibility(empty.triangle, empty.weights, opaque.nearness)
    rasterise(screen, head.lashes.vertices, lashes, keep_back_faces=True)
    return opaque, lashes


def _light(head: HeadModel, vertices: Floats, state: FrameState) -> tuple[Lighting, npt.NDArray[np.float32]]:
    """The light and its shadow map."""
    light = state.light
    view = light_view(np.asarray(light.key_direction), SHADOW_MAP_SIZE, SHADOW_MAP_WIDTH)
    lighting = Lighting(
        camera=as_vector(CAMERA),
        key_direction=light.key_direction,
        key_colour=light.key_colour,
        fill_direction=light.fill_direction,
        fill_colour=light.fill_colour,
        sky_colour=light.sky_colour,
        ground_colour=light.ground_colour,
        shadow_axes=as_matrix(view.axes),
        shadow_offset=as_vector(view.offset),
    )
    return lighting, depth_map(view.project(vertices), head.opaque.vertices, SHADOW_MAP_SIZE)


def _surface(
    head: HeadModel, baked: BakedIdentity, vertices: Floats, state: FrameState, head_rotation: Floats
) -> Surface:
    jaw = min(1.0, state.expression.get("jawOpen", 0.0) / JAW_OPEN)
    moving = np.empty((len(vertices), 7), dtype=np.float32)
    moving[:, :3] = vertices
    moving[:, 3:6] = vertex_normals(vertices, head.opaque.vertices)
    moving[:, 6] = baked.occlusion[0] * np.float32(1 - jaw) + baked.occlusion[1] * np.float32(jaw)
    return Surface(
        moving=moving,
        still=baked.still,
        triangles=head.opaque.vertices,
        texture_coordinates=head.opaque.texture_coordinates,
        regions=head.opaque.regions,
        lash_triangles=head.lashes.vertices,
        lash_regions=head.lashes.regions,
        texture=baked.texture,
        texels_per_unit=float(baked.texels_per_unit),
        texture_left=TEXTURE_ORIGIN[0],
        texture_top=TEXTURE_ORIGIN[1] + TEXTURE_EXTENT[1],
        head_rotation=as_matrix(head_rotation),
        clothes=as_vector(linear(baked.identity.clothes)),
        lash_opacity=baked.identity.eyes.lashes,
    )


def _eye_look(baked: BakedIdentity, state: FrameState, head_rotation: Floats) -> EyeLook:
    eyes = baked.identity.eyes
    left, right = _turn(baked.shape.eye_centres, np.ones(2), head_rotation, _NECK_PIVOT)
    return EyeLook(
        centres=(as_vector(left), as_vector(right)),
        rotation=as_matrix(head_rotation @ rotation_matrix(state.gaze_yaw, -state.gaze_pitch, 0.0)),
        radius=baked.shape.eye_radius,
        inner_iris=as_vector(linear(eyes.inner_iris)),
        outer_iris=as_vector(linear(eyes.outer_iris)),
        sclera=as_vector(linear(eyes.sclera)),
        pupil=state.pupil,
        seed=baked.identity.seed,
    )


def render_frame(head: HeadModel, baked: BakedIdentity, state: FrameState, size: int) -> RenderedFrame:
    """Render an identity in a state, `size` pixels a side. The same arguments always give the same bits."""
    head_rotation = rotation_matrix(state.yaw, state.pitch, state.roll)
    posed = expression_vertices(head, baked.shape, state.expression)
    vertices = np.asarray(head.subdivision @ posed) + baked.hair_offsets
    vertices = _turn(vertices, head.head_share, head_rotation, _NECK_PIVOT)

    # Landmarks have the same indices on the fine mesh: the subdivision's first rows are the coarse vertices.
    marked = vertices[head.landmarks]
    alignment = align(_to_screen(marked, CAMERA, _IMAGE_PLANE)[:, :2], state.crop, size)
    opaque, lashes = _see(
        head, baked, vertices, head_rotation, alignment * SAMPLES_A_SIDE, size * SAMPLES_A_SIDE
    )
    lighting, shadow_map = _light(head, vertices, state)
    colour = np.zeros((size, size, 3), dtype=np.float32)
    masks = np.zeros((size, size, 4), dtype=np.float32)
    shade(
        Samples(opaque.triangle, opaque.weights, lashes.triangle, lashes.weights),
        _surface(head, baked, vertices, state, head_rotation),
        shadow_map,
        lighting,
        _eye_look(baked, state, head_rotation),
        SAMPLES_A_SIDE,
        as_vector(linear(_LASH_COLOUR)),
        colour,
        masks,
    )
    picture = np.empty((size, size, 3), dtype=np.uint8)
    develop(colour, masks, render_background(state.background, size), picture)
    return RenderedFrame(
        picture=picture,
        masks=(masks * 255 + 0.5).astype(np.uint8),
        landmarks=_to_screen(marked, CAMERA, alignment)[:, :2].copy(),
        alignment=alignment,
    )
