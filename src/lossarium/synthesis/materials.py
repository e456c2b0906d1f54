"""The materials of surfaces, one compiled function each: skin (textured), eyes, teeth, mouth, clothes."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.compiling import compiled
from lossarium.synthesis.mesh import Floats, Matrix, Vector
from lossarium.synthesis.noise import hash_lattice, line_noise


class Material(NamedTuple):
    """How a point of a surface reflects light."""

    red: float
    green: float
    blue: float
    """Linear albedo."""
    shine: float
    """Strength of the specular reflection."""
    gloss: int
    """Sharpness of the highlight: its exponent is 2 ** gloss."""
    wrap_red: float
    wrap_green: float
    wrap_blue: float
    """How far light wraps round the terminator, as subsurface scattering in skin does; 0 is Lambertian."""
    occlusion: float
    """The share of the sky that is visible from the point."""


class EyeLook(NamedTuple):
    """An identity's eyes in one state."""

    centres: tuple[Vector, Vector]
    """Left, right; world metres, head posed."""
    rotation: Matrix
    """From the eye's axes to world axes."""
    radius: float
    """Metres."""
    inner_iris: Vector
    outer_iris: Vector
    sclera: Vector
    """Linear RGB."""
    pupil: float
    """The pupil's radius as a share of the iris's radius."""
    seed: int


TEXTURE_CHANNELS = 8
"""Linear RGB, shine, the bump vector's three coordinates, share of lips."""

IRIS_RADIUS = 5.9
"""Millimetres."""

# Where teeth end, millimetres from the middle: incisors, canine, premolars.
_UPPER_TEETH_EDGES = (0.0, 8.4, 14.8, 21.6, 27.2, 40.0)
_LOWER_TEETH_EDGES = (0.0, 5.6, 11.4, 18.0, 24.4, 40.0)


@compiled
def step(low: float, high: float, value: float) -> float:
    """Hermite step, as `noise.smoothstep`, for one number."""
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return share * share * (3.0 - 2.0 * share)


@compiled
def sample_texture(texture: npt.NDArray[np.float32], x: float, y: float, texel: Floats) -> None:
    """Bilinear interpolation at texel coordinates (centres at halves) into `texel` (TEXTURE_CHANNELS,)."""
    rows, columns, _ = texture.shape
    x = min(max(x - 0.5, 0.0), columns - 1.001)
    y = min(max(y - 0.5, 0.0), rows - 1.001)
    column, row = int(x), int(y)
    x -= column
    y -= row
    w00, w01, w10, w11 = (1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y
    for channel in range(TEXTURE_CHANNELS):  # a constant, so that the compiler unrolls and vectorises it
        texel[channel] = (
            w00 * texture[row, column, channel]
            + w01 * texture[row, column + 1, channel]
            + w10 * texture[row + 1, column, channel]
            + w11 * texture[row + 1, column + 1, channel]
        )


@compiled
def skin_material(texel: Floats, hair: float, occlusion: float) -> Material:
    """Skin, lips and hair of the head, from a texel."""
    red, green, blue, shine = texel[0], texel[1], texel[2], texel[3]
    if hair > 0.25:
        return Material(red, green, blue, shine, 3, 0.15, 0.15, 0.15, occlusion)
    gloss = 5 if texel[7] > 0.5 else 4
    return Material(red, green, blue, shine, gloss, 0.30, 0.12, 0.08, occlusion)


@compiled
def body_material(
    red: float, green: float, blue: float, x: float, y: float, z: float, clothes: Vector, occlusion: float
) -> Material:
    """Neck and shoulders: skin above the collar, woven cloth below."""
    slope = 1.0 if y < -0.02 else 0.0
    collar = 0.583 + 0.10 * (y + 0.03) * slope + 0.010 * np.cos(x * 30.0)
    if z >= collar:
        return Material(red, green, blue, 0.3, 4, 0.30, 0.12, 0.08, occlusion)
    weave = 0.85 + 0.15 * (line_noise(x * 900.0, 3) + line_noise(z * 900.0, 4))
    return Material(
        clothes[0] * weave, clothes[1] * weave, clothes[2] * weave, 0.05, 4, 0.1, 0.1, 0.1, occlusion
    )


@compiled
def lid_material(red: float, green: float, blue: float, occlusion: float) -> Material:
    """The inner side of the eyelids: reddish and wet."""
    return Material(red * 0.75 + 0.05, green * 0.62, blue * 0.62, 0.8, 6, 0.30, 0.12, 0.08, occlusion)


@compiled
def mouth_material(y: float, occlusion: float) -> Material:
    """The cavity of the mouth, which darkens with depth; `y` is measured on the template."""
    depth = (0.35 + 0.65 * occlusion) * step(-0.07, -0.14, y)
    return Material(0.26, 0.05, 0.045, 0.6, 5, 0.30, 0.12, 0.08, depth)


@compiled
def tongue_material(y: float, occlusion: float) -> Material:
    """The tongue, darker with depth."""
    depth = (0.4 + 0.6 * occlusion) * step(-0.08, -0.13, y)
    return Material(0.42, 0.13, 0.12, 0.5, 5, 0.30, 0.12, 0.08, depth)


@compiled
def teeth_material(x: float, y: float, z: float, upper: bool, occlusion: float) -> Material:
    """Separate teeth under a scalloped gum, painted on the plain band that MakeHuman has for teeth.

    x, y, z are coordinates on the template.
    """
    edges = _UPPER_TEETH_EDGES if upper else _LOWER_TEETH_EDGES
    across = abs(x) * 1000.0
    tooth = 0
    while tooth < 4 and across > edges[tooth + 1]:
        tooth += 1
    place = 2.0 * (across - edges[tooth]) / (edges[tooth + 1] - edges[tooth]) - 1.0
    side = place * place
    from_gum = (0.6708 - z if upper else z - 0.6488) - 0.0018 * side
    shade = 0.94 + 0.06 * hash_lattice(tooth, 1 if x > 0.0 else 0, 1 if upper else 0, 5)
    shade *= 1.0 - 0.45 * step(0.72, 1.0, abs(place))
    red, green, blue = 0.70 * shade, 0.645 * shade, 0.54 * shade
    if tooth == 2:
        green, blue = green * 0.97, blue * 0.92
    gum = step(0.0006, -0.0004, from_gum)
    red, green, blue = red + (0.42 - red) * gum, green + (0.13 - green) * gum, blue + (0.12 - blue) * gum
    # The cutting edge is rounded between the teeth, where the dark of the mouth shows.
    length = (0.0128 if tooth != 1 else 0.0120) if upper else 0.0125
    cut = step(length - 0.0016 * side * side, length + 0.0005 - 0.0016 * side * side, from_gum)
    red, green, blue = red * (1.0 - 0.8 * cut), green * (1.0 - 0.85 * cut), blue * (1.0 - 0.85 * cut)
    depth = (0.55 + 0.45 * occlusion) * (0.06 + 0.94 * step(-0.118, -0.146, y))
    return Material(
        red, green, blue, 0.7, 6, 0.30, 0.12, 0.08, depth * (1.0 - 0.5 * step(0.012, 0.026, abs(x)))
    )


@compiled
def eye_material(dx: float, dy: float, dz: float, look: EyeLook, occlusion: float) -> Material:
    """Sclera, iris and pupil, rotated by the gaze, in direction (dx, dy, dz) from the eyeball's centre."""
    rotation = look.rotation
    x = rotation[0][0] * dx + rotation[1][0] * dy + rotation[2][0] * dz
    y = rotation[0][1] * dx + rotation[1][1] * dy + rotation[2][1] * dz
    z = rotation[0][2] * dx + rotation[1][2] * dy + rotation[2][2] * dz
    radius = np.sqrt(x * x + z * z) * look.radius * 1000.0 if y <= 0.0 else 99.0
    angle = np.arctan2(z, x)
    veins = line_noise(angle * 14.0 + radius * 0.6, look.seed + 1)
    pink = min(1.0, max(0.0, (radius - 6.5) / 6.0))
    red = look.sclera[0] * (1.0 - 0.03 * pink)
    green = look.sclera[1] * (1.0 - 0.20 * pink - 0.10 * pink * veins)
    blue = look.sclera[2] * (1.0 - 0.22 * pink - 0.10 * pink * veins)
    iris = 1.0 - step(IRIS_RADIUS - 0.45, IRIS_RADIUS + 0.35, radius)
    if iris > 0.0:
        share = radius / IRIS_RADIUS
        fibres = 0.55 + 0.495 * line_noise(angle * 26.0 + 0.3 * np.sin(share * 9.0), look.seed + 2)
        fibres += 0.2475 * line_noise(angle * 55.0, look.seed + 3)
        fibres *= 1.0 - 0.72 * step(0.72, 1.0, share)
        outer = step(0.32, 0.62, share)
        pupil = 1.0 - step(look.pupil * IRIS_RADIUS - 0.35, look.pupil * IRIS_RADIUS + 0.25, radius)
        iris_red = (look.outer_iris[0] * (1.0 - outer) + look.inner_iris[0] * outer) * fibres
        iris_green = (look.outer_iris[1] * (1.0 - outer) + look.inner_iris[1] * outer) * fibres
        iris_blue = (look.outer_iris[2] * (1.0 - outer) + look.inner_iris[2] * outer) * fibres
        red += iris * (iris_red * (1.0 - pupil) + 0.004 * pupil - red)
        green += iris * (iris_green * (1.0 - pupil) + 0.004 * pupil - green)
        blue += iris * (iris_blue * (1.0 - pupil) + 0.004 * pupil - blue)
    return Material(red, green, blue, 0.25, 6, 0.25, 0.20, 0.20, 0.35 + 0.65 * occlusion)
