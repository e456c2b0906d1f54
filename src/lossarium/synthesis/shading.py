"""Shade all samples to the colour and the masks of each pixel, in one compiled pass.

There is a key light with shadows, a fill light without shadows, and light from sky and ground, dimmed by
ambient occlusion. On skin, light wraps round the terminator, red the furthest, to imitate subsurface
scattering.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.compiling import compiled, inlined
from lossarium.synthesis.head import Region
from lossarium.synthesis.materials import (
    TEXTURE_CHANNELS,
    EyeLook,
    Material,
    body_material,
    eye_material,
    lid_material,
    mouth_material,
    sample_texture,
    skin_material,
    step,
    teeth_material,
    tongue_material,
)
from lossarium.synthesis.mesh import Matrix, Vector
from lossarium.synthesis.noise import line_noise

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]

_BODY, _HEAD = int(Region.BODY), int(Region.HEAD)
_MOUTH_CAVITY = int(Region.MOUTH_CAVITY)
_LEFT_EYE, _RIGHT_EYE = int(Region.LEFT_EYE), int(Region.RIGHT_EYE)
_UPPER_TEETH, _LOWER_TEETH, _TONGUE = int(Region.UPPER_TEETH), int(Region.LOWER_TEETH), int(Region.TONGUE)
_UPPER_LASHES = int(Region.UPPER_LASHES)

SHADOW_MAP_SIZE = 320
SHADOW_MAP_WIDTH = 0.46
"""Metres along each side of the shadow map."""


class Samples(NamedTuple):
    """The visible triangle (rows, columns) and weights (rows, columns, 2) of each sample: of the surface, and
    of lashes in front of it."""

    triangle: Int32s
    weights: Float32s
    lash_triangle: Int32s
    lash_weights: Float32s


class Surface(NamedTuple):
    """The posed head."""

    moving: Float32s
    """(V, 7) position, normal, occlusion."""
    still: Float32s
    """(V, 8) position on the template, hair thickness in metres, linear RGB, position along the lashes."""
    triangles: Int32s
    texture_coordinates: Float32s
    regions: Int32s
    lash_triangles: Int32s
    lash_regions: Int32s
    texture: Float32s
    texels_per_unit: float
    texture_left: float
    texture_top: float
    head_rotation: Matrix
    """Rotates the texture's bump vectors from the rest pose to the head's pose."""
    clothes: Vector
    """Linear RGB."""
    lash_opacity: float


class Lighting(NamedTuple):
    """Light on the head, directions towards the light, colours linear RGB."""

    camera: Vector
    key_direction: Vector
    key_colour: Vector
    fill_direction: Vector
    fill_colour: Vector
    sky_colour: Vector
    ground_colour: Vector
    shadow_axes: Matrix
    """`shadow_axes @ point + shadow_offset` is in texels of the shadow map, see `rasterising.LightView`."""
    shadow_offset: Vector


class Radiance(NamedTuple):
    """Linear light that leaves a point towards the camera."""

    red: float
    green: float
    blue: float


@inlined
def _unshadowed(
    lighting: Lighting, shadow_map: Float32s, x: float, y: float, z: float, slope: float
) -> float:
    """The share of the key light, in [0, 1], that reaches a point: nine taps of the shadow map."""
    if slope <= -0.6:
        return 0.0
    axes, offset = lighting.shadow_axes, lighting.shadow_offset
    size = shadow_map.shape[0]
    u = axes[0][0] * x + axes[0][1] * y + axes[0][2] * z + offset[0]
    v = axes[1][0] * x + axes[1][1] * y + axes[1][2] * z + offset[1]
    near = axes[2][0] * x + axes[2][1] * y + axes[2][2] * z + offset[2]
    near += 0.0022 + 0.0035 * (1.0 - min(1.0, max(0.0, slope)))
    if not (1.0 <= u < size - 1.0 and 1.0 <= v < size - 1.0):
        return 1.0
    left, middle, right = int(u - 0.9), int(u), int(u + 0.9)
    lit = 0
    for row in (int(v - 0.9), int(v), int(v + 0.9)):
        lit += (
            (near > shadow_map[row, left])
            + (near > shadow_map[row, middle])
            + (near > shadow_map[row, right])
        )
    return lit / 9.0


@compiled
def _highlight(cosine: float, gloss: int) -> float:
    """Normalised Blinn lobe of exponent 2 ** gloss."""
    power = max(0.0, cosine)
    exponent = 1.0
    for _ in range(gloss):
        power *= power
        exponent *= 2.0
    return power * (exponent + 8.0) / 8.0


@inlined
def _radiance(
    material: Material,
    lighting: Lighting,
    nx: float,
    ny: float,
    nz: float,
    vx: float,
    vy: float,
    vz: float,
    lit: float,
    wet: bool,
) -> Radiance:
    """Light from a point with normal n towards v (unit vectors); `lit` is the share of the key light that
    reaches it."""
    key, fill = lighting.key_direction, lighting.fill_direction
    occlusion = material.occlusion
    slope = nx * key[0] + ny * key[1] + nz * key[2]
    fill_slope = max(0.0, nx * fill[0] + ny * fill[1] + nz * fill[2]) * (0.3 + 0.7 * occlusion)
    upward = 0.5 + 0.5 * nz
    # Red light bleeds into shadows and creases.
    red_occlusion = np.sqrt(occlusion * np.sqrt(occlusion))
    red_lit = np.sqrt(lit * np.sqrt(lit)) if 0.0 < lit < 1.0 else lit
    open_sky = 0.5 + 0.5 * occlusion
    key_red = max(0.0, (slope + material.wrap_red) / (1.0 + material.wrap_red)) * red_lit * open_sky
    key_green = max(0.0, (slope + material.wrap_green) / (1.0 + material.wrap_green)) * lit * open_sky
    key_blue = max(0.0, (slope + material.wrap_blue) / (1.0 + material.wrap_blue)) * lit * open_sky
    sky, ground = lighting.sky_colour, lighting.ground_colour
    red = lighting.key_colour[0] * key_red + lighting.fill_colour[0] * fill_slope
    green = lighting.key_colour[1] * key_green + lighting.fill_colour[1] * fill_slope
    blue = lighting.key_colour[2] * key_blue + lighting.fill_colour[2] * fill_slope
    red += (sky[0] * upward + ground[0] * (1.0 - upward)) * red_occlusion
    green += (sky[1] * upward + ground[1] * (1.0 - upward)) * occlusion
    blue += (sky[2] * upward + ground[2] * (1.0 - upward)) * occlusion

    grazing = 1.0 - max(0.0, nx * vx + ny * vy + nz * vz)
    squared = grazing * grazing
    mirror = material.shine * (0.04 + 0.5 * squared * squared * grazing)
    hx, hy, hz = key[0] + vx, key[1] + vy, key[2] + vz
    key_cosine = max(0.0, (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz))
    hx, hy, hz = fill[0] + vx, fill[1] + vy, fill[2] + vz
    fill_cosine = max(0.0, (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz))
    broad = key_cosine * key_cosine
    key_shine = (
        mirror * max(0.0, slope) * lit * (0.55 * _highlight(key_cosine, material.gloss) + 0.3 * broad * broad)
    )
    fill_shine = mirror * _highlight(fill_cosine, material.gloss) * 0.5 * occlusion
    sky_shine = mirror * 0.5 * occlusion
    if wet:
        key_shine += 1.6 * step(0.9915, 0.9955, key_cosine) * (0.35 + 0.65 * lit)
        fill_shine += 0.35 * step(0.993, 0.997, fill_cosine)
    return Radiance(
        material.red * red
        + lighting.key_colour[0] * key_shine
        + lighting.fill_colour[0] * fill_shine
        + sky[0] * sky_shine,
        material.green * green
        + lighting.key_colour[1] * key_shine
        + lighting.fill_colour[1] * fill_shine
        + sky[1] * sky_shine,
        material.blue * blue
        + lighting.key_colour[2] * key_shine
        + lighting.fill_colour[2] * fill_shine
        + sky[2] * sky_shine,
    )


@compiled
def _lash_cover(
    still: Float32s, triangle: Int32s, upper: bool, w0: float, w1: float, opacity: float
) -> float:
    """The opacity of the lashes at a point of their triangle, given the opacity of the upper lashes."""
    w2 = 1.0 - w0 - w1
    a, b, c = triangle[0], triangle[1], triangle[2]
    depth = w0 * still[a, 7] + w1 * still[b, 7] + w2 * still[c, 7]
    across = w0 * still[a, 0] + w1 * still[b, 0] + w2 * still[c, 0]
    hairs = line_noise(abs(across) * 2600.0 + depth, 77)
    cover = max(0.0, 1.0 - depth) * (0.25 + max(0.0, hairs - 0.15 * depth))
    return float(min(0.95, cover * (opacity if upper else 0.28 * opacity)))


@compiled
def _untextured_material(
    region: int,
    red: float,
    green: float,
    blue: float,
    x: float,
    y: float,
    z: float,
    clothes: Vector,
    occlusion: float,
) -> Material:
    """The material of regions without a texture, from a vertex colour and a position on the template."""
    if region == _BODY:
        return body_material(red, green, blue, x, y, z, clothes, occlusion)
    if region in (_UPPER_TEETH, _LOWER_TEETH):
        return teeth_material(x, y, z, region == _UPPER_TEETH, occlusion)
    if region == _MOUTH_CAVITY:
        return mouth_material(y, occlusion)
    if region == _TONGUE:
        return tongue_material(y, occlusion)
    return lid_material(red, green, blue, occlusion)


@compiled
def _is_face(x: float, y: float, z: float, hair: float) -> bool:
    """Whether a position on the template counts as face: hairline to chin, ear to ear."""
    return bool(y < -0.06 and hair < 0.05 and z > 0.612 and abs(x) < 0.0695)


@compiled
def shade(
    samples: Samples,
    surface: Surface,
    shadow_map: Float32s,
    lighting: Lighting,
    look: EyeLook,
    samples_a_side: int,
    lash_colour: Vector,
    colour: Float32s,
    masks: Float32s,
) -> None:
    """Shade every sample and average it into its pixel.

    Args:
        samples: what each sample shows.
        surface: the head.
        shadow_map: (SHADOW_MAP_SIZE, SHADOW_MAP_SIZE) as `rasterising.depth_map` gives it.
        lighting: the light.
        look: the eyes.
        samples_a_side: samples along each side of a pixel.
        lash_colour: linear RGB.
        colour: (size, size, 3) linear RGB times cover; filled here.
        masks: (size, size, 4) shares of face, eyes, mouth, foreground; filled here.
    """
    # Arrays are taken out of their tuples here, once: inside the loop each access would count references.
    shown, weights, lash_shown, lash_weights = samples
    moving, still, triangles, regions = surface.moving, surface.still, surface.triangles, surface.regions
    corners, texture = surface.texture_coordinates, surface.texture
    lash_triangles, lash_regions = surface.lash_triangles, surface.lash_regions
    rotation, key, camera = surface.head_rotation, lighting.key_direction, lighting.camera
    texels_per_unit, texture_left, texture_top = (
        surface.texels_per_unit,
        surface.texture_left,
        surface.texture_top,
    )
    clothes, lash_opacity = surface.clothes, surface.lash_opacity
    texel = np.zeros(TEXTURE_CHANNELS)
    rows, columns = shown.shape
    share = 1.0 / (samples_a_side * samples_a_side)
    for row in range(rows):
        for column in range(columns):
            triangle = shown[row, column]
            if triangle < 0:
                continue
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            w0, w1 = float(weights[row, column, 0]), float(weights[row, column, 1])
            w2 = 1.0 - w0 - w1
            px = w0 * moving[a, 0] + w1 * moving[b, 0] + w2 * moving[c, 0]
            py = w0 * moving[a, 1] + w1 * moving[b, 1] + w2 * moving[c, 1]
            pz = w0 * moving[a, 2] + w1 * moving[b, 2] + w2 * moving[c, 2]
            nx = w0 * moving[a, 3] + w1 * moving[b, 3] + w2 * moving[c, 3]
            ny = w0 * moving[a, 4] + w1 * moving[b, 4] + w2 * moving[c, 4]
            nz = w0 * moving[a, 5] + w1 * moving[b, 5] + w2 * moving[c, 5]
            occlusion = w0 * moving[a, 6] + w1 * moving[b, 6] + w2 * moving[c, 6]
            tx = w0 * still[a, 0] + w1 * still[b, 0] + w2 * still[c, 0]
            ty = w0 * still[a, 1] + w1 * still[b, 1] + w2 * still[c, 1]
            tz = w0 * still[a, 2] + w1 * still[b, 2] + w2 * still[c, 2]
            shorten = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            nx, ny, nz = nx * shorten, ny * shorten, nz * shorten
            vx, vy, vz = camera[0] - px, camera[1] - py, camera[2] - pz
            shorten = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
            vx, vy, vz = vx * shorten, vy * shorten, vz * shorten
            smooth_x, smooth_y, smooth_z = nx, ny, nz

            region = regions[triangle]
            face, eye, mouth = True, False, False
            if region == _HEAD:
                hair = (w0 * still[a, 3] + w1 * still[b, 3] + w2 * still[c, 3]) * 120.0
                u = w0 * corners[triangle, 0, 0] + w1 * corners[triangle, 1, 0] + w2 * corners[triangle, 2, 0]
                v = w0 * corners[triangle, 0, 1] + w1 * corners[triangle, 1, 1] + w2 * corners[triangle, 2, 1]
                sample_texture(
                    texture, (u - texture_left) * texels_per_unit, (texture_top - v) * texels_per_unit, texel
                )
                nx += rotation[0][0] * texel[4] + rotation[0][1] * texel[5] + rotation[0][2] * texel[6]
                ny += rotation[1][0] * texel[4] + rotation[1][1] * texel[5] + rotation[1][2] * texel[6]
                nz += rotation[2][0] * texel[4] + rotation[2][1] * texel[5] + rotation[2][2] * texel[6]
                shorten = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
                nx, ny, nz = nx * shorten, ny * shorten, nz * shorten
                material = skin_material(texel, hair, occlusion)
                mouth = texel[7] > 0.5
                face = _is_face(tx, ty, tz, hair)
            elif region in (_LEFT_EYE, _RIGHT_EYE):
                eye = True
                side = 0 if region == _LEFT_EYE else 1
                centre = look.centres[side]
                nx, ny, nz = px - centre[0], py - centre[1], pz - centre[2]
                shorten = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz)
                nx, ny, nz = nx * shorten, ny * shorten, nz * shorten
                material = eye_material(nx, ny, nz, look, occlusion)
            else:
                face = region != _BODY
                mouth = region == _MOUTH_CAVITY or region >= _UPPER_TEETH
                red = w0 * still[a, 4] + w1 * still[b, 4] + w2 * still[c, 4]
                green = w0 * still[a, 5] + w1 * still[b, 5] + w2 * still[c, 5]
                blue = w0 * still[a, 6] + w1 * still[b, 6] + w2 * still[c, 6]
                material = _untextured_material(region, red, green, blue, tx, ty, tz, clothes, occlusion)

            slope = smooth_x * key[0] + smooth_y * key[1] + smooth_z * key[2]
            # The shadow is looked up a little above the surface, so that the surface does not shadow itself.
            lit = _unshadowed(
                lighting,
                shadow_map,
                px + smooth_x * 0.0022,
                py + smooth_y * 0.0022,
                pz + smooth_z * 0.0022,
                slope,
            )
            light = _radiance(material, lighting, nx, ny, nz, vx, vy, vz, lit, eye)

            cover = 0.0
            lash = lash_shown[row, column]
            if lash >= 0:
                cover = _lash_cover(
                    still,
                    lash_triangles[lash],
                    lash_regions[lash] == _UPPER_LASHES,
                    lash_weights[row, column, 0],
                    lash_weights[row, column, 1],
                    lash_opacity,
                )
            y, x = row // samples_a_side, column // samples_a_side
            colour[y, x, 0] += share * (light.red * (1.0 - cover) + lash_colour[0] * cover)
            colour[y, x, 1] += share * (light.green * (1.0 - cover) + lash_colour[1] * cover)
            colour[y, x, 2] += share * (light.blue * (1.0 - cover) + lash_colour[2] * cover)
            masks[y, x, 0] += share * face
            masks[y, x, 1] += share * eye
            masks[y, x, 2] += share * mouth
            masks[y, x, 3] += share


@compiled
def develop(colour: Float32s, masks: Float32s, background: Float32s, picture: npt.NDArray[np.uint8]) -> None:
    """Blend linear light over the background and convert it to 8-bit sRGB with soft highlights, in
    `picture`."""
    rows, columns, _ = colour.shape
    for row in range(rows):
        for column in range(columns):
            beyond = (1.0 - masks[row, column, 3]) * 0.9
            for channel in range(3):
                light = (colour[row, column, channel] + background[row, column, channel] * beyond) * 0.92
                if light > 0.7:
                    light = 0.7 + 0.3 * (1.0 - np.exp((0.7 - light) / 0.3))
                light = min(1.0, max(0.0, light))
                picture[row, column, channel] = int(light ** (1 / 2.2) * 255.0 + 0.5)
