"""Paint skin: every colour is computed from a position on the template face, without photographs or scans.

Layers are plain functions that change a `Paint` in place, from the skin's base colour outwards to the hair.
Positions are in metres on the template, so that the same rules fit every identity.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.interpolate import CubicSpline

from lossarium.synthesis.hair import hairline_distance, strand_coordinates
from lossarium.synthesis.identities import Brows, Colour, Eyes, Hair, Identity, Lips, Skin
from lossarium.synthesis.mesh import Floats
from lossarium.synthesis.noise import fractal_noise, smoothstep, spots, value_noise

RowFactors: TypeAlias = tuple[float, float, float]

LID_DISTANCE_LIMIT = 0.006
"""Metres; distances from the lid margin are clamped to this, since no layer needs larger ones."""


@dataclass(frozen=True)
class Places:
    """N points on the skin to paint."""

    points: Floats
    """(N, 3) on the template, metres."""
    lips: Floats
    """(N,) share of lip, [0, 1]."""
    lid_distance: Floats
    """(N,) metres to the nearest lid margin, at most `LID_DISTANCE_LIMIT`."""
    texel: Floats
    """(N,) size of a texel, metres: finer detail fades out, so that it does not alias."""

    @property
    def across(self) -> Floats:
        """(N,) distance from the middle of the face."""
        return np.abs(self.points[:, 0])

    @property
    def front(self) -> Floats:
        """(N,) 1 on the front of the head, 0 behind the ears."""
        return np.asarray(smoothstep(-0.05, -0.09, self.points[:, 1]))

    def resolved(self, frequency: float) -> Floats:
        """(N,) how well texels resolve detail with this many cells per metre, in [0, 1]."""
        return np.asarray(1 - smoothstep(0.28, 0.55, self.texel * frequency))


@dataclass
class Paint:
    """The painted properties of N points."""

    colour: Floats
    """(N, 3) linear albedo."""
    shine: Floats
    """(N,) strength of the specular reflection."""
    height: Floats
    """(N,) millimetres above the skin."""


def linear(colour: Colour) -> Floats:
    """Convert an sRGB colour in [0, 255] to linear RGB (3,) in [0, 1]."""
    return np.asarray((np.asarray(colour, dtype=np.float64) / 255) ** 2.2)


def _bell(value: Floats, width: float | Floats, power: int = 2) -> Floats:
    return np.asarray(np.exp(-(np.abs(value / width) ** power)))


def _blend(colour: Floats, over: Floats, opacity: Floats) -> Floats:
    return colour + (over - colour) * opacity[:, None]


def _tint(colour: Floats, factors: RowFactors, amount: Floats) -> Floats:
    """Multiply colours by factors, to the degree of `amount` (N,): 0 not at all, 1 fully."""
    return np.asarray(colour * (1 + amount[:, None] * (np.asarray(factors) - 1)))


def _around(places: Places, across: float, y: float, z: float, radius: float) -> Floats:
    """A soft ball on both sides of the face."""
    _, py, pz = places.points.T
    squared = (places.across - across) ** 2 + (py - y) ** 2 + (pz - z) ** 2
    return np.asarray(np.exp(-squared / radius**2))


def _paint_base(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    """Paint uneven skin, flushed cheeks and nose, shadows under the eyes, eye shadow."""
    across, z = places.across, places.points[:, 2]
    coarse = fractal_noise(places.points, 60, 3, seed)
    medium = fractal_noise(places.points, 260, 3, seed + 10)
    paint.colour *= 1 + (coarse * 1.1 + medium)[:, None] * np.asarray(skin.blotches)
    blood = (
        _around(places, 0.040, -0.125, 0.688, 0.022) * 0.9
        + _around(places, 0, -0.165, 0.692, 0.015) * 0.9
        + _around(places, 0.075, -0.03, 0.71, 0.03) * 0.8
        + _around(places, 0, -0.15, 0.63, 0.016) * 0.35
    )
    paint.colour = _tint(paint.colour, skin.flush, np.clip(np.clip(blood, 0, 1) * (1 + 0.5 * medium), 0, 1.3))
    under_eyes = _bell(across - 0.031, 0.017) * _bell(z - 0.7165, 0.006) * places.front
    paint.colour = _tint(paint.colour, (0.88, 0.84, 0.88), under_eyes * skin.tired_eyes)
    lid = _bell(across - 0.034, 0.020) * _bell(z - 0.7375, 0.0065) * places.front
    paint.colour = _blend(paint.colour, linear(skin.eye_shadow_colour), lid * skin.eye_shadow)
    paint.shine *= 1 + 0.5 * _bell(across, 0.02) * places.front


def _paint_pores(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    pores = spots(places.points, 900, seed + 50, (0.25, 0.6)) * places.resolved(900)
    fine = fractal_noise(places.points, 800, 1, seed + 60) * places.resolved(800) * 0.7
    fine += fractal_noise(places.points, 1500, 1, seed + 61) * places.resolved(1500) * 0.6
    oily = (
        _around(places, 0.03, -0.14, 0.70, 0.03)
        + _around(places, 0, -0.165, 0.695, 0.02)
        + 0.5 * _around(places, 0, -0.14, 0.78, 0.04)
    )
    amount = skin.pores * (0.4 + 0.6 * np.clip(oily, 0, 1)) * places.front
    paint.colour *= 1 - (pores * 0.13 * amount + fine * 0.035)[:, None]
    paint.height += fine * 0.025 - pores * 0.10 * amount


def _paint_freckles(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    x, _, z = places.points.T
    density = (
        _around(places, 0.036, -0.13, 0.703, 0.024) * 1.1
        + _bell(x, 0.02) * _bell(z - 0.705, 0.014) * places.front * 1.1
        + 0.35 * _bell(x, 0.05) * _bell(z - 0.78, 0.022) * places.front
        + 0.16 * places.front
    )
    large = spots(places.points, 330, seed + 70, (0.10, 0.48))
    small = spots(places.points, 520, seed + 80, (0.10, 0.42))
    patches = 0.925 + 0.375 * fractal_noise(places.points, 180, 2, seed + 90)
    amount = np.maximum(large, small * 0.8) * np.clip(density, 0, 1) * patches * skin.freckles
    paint.colour = _tint(paint.colour, (0.60, 0.42, 0.33), np.clip(amount, 0, 1) * (1 - places.lips))


def _paint_moles(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    x, _, z = places.points.T
    ragged = fractal_noise(places.points, 700, 2, seed + 3) * 0.25
    for mole in skin.moles:
        distance = np.hypot(x - mole.x, z - mole.z) * 1e3 + ragged
        amount = (1 - smoothstep(mole.radius * 0.65, mole.radius, distance)) * places.front * mole.strength
        paint.colour = _tint(paint.colour, (0.28, 0.20, 0.18), amount)
        paint.height += amount * 0.25


def _forehead_lines(places: Places, seed: int) -> Floats:
    across, z = places.across, places.points[:, 2]
    lines = np.zeros(len(z))
    for number, height in enumerate((0.772, 0.781, 0.790)):
        wave = 0.0013 * value_noise(places.points, np.array([55.0, 0.0, 0.0]), seed + number)
        bend = 0.10 * across**1.5 * (1 if number % 2 else 0.6)
        lines += _bell(z - height + bend + wave, 0.0009)
    uneven = 0.6 + 0.4 * fractal_noise(places.points, 260, 3, seed + 10)
    return np.asarray(lines * _bell(across, 0.043, 4) * places.front * uneven)


def _crow_feet(places: Places) -> Floats:
    across, z = places.across, places.points[:, 2]
    rays = np.zeros(len(z))
    for slope in (-0.55, -0.15, 0.25, 0.6):
        rays += _bell(z - 0.7275 - (across - 0.052) * slope, 0.0008)
    near = smoothstep(0.052, 0.057, across) * (1 - smoothstep(0.060, 0.067, across))
    return np.asarray(rays * near * places.front)


def _nasolabial_folds(places: Places) -> Floats:
    across, z = places.across, places.points[:, 2]
    fold = 0.019 + 0.62 * (0.690 - z) + 8 * (0.690 - z) ** 2
    ends = smoothstep(0.652, 0.664, z) * (1 - smoothstep(0.686, 0.692, z))
    return np.asarray(_bell(across - fold, 0.0016) * ends * places.front)


def _eye_bags(places: Places) -> Floats:
    across, z = places.across, places.points[:, 2]
    line = 0.7185 + 18 * (across - 0.031) ** 2
    return np.asarray(_bell(z - line, 0.0009) * _bell(across - 0.032, 0.013, 4) * places.front)


def _paint_wrinkles(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    depth = np.zeros(len(places.points))
    if skin.forehead_lines:
        depth += np.clip(_forehead_lines(places, seed), 0, 1.2) * skin.forehead_lines
    if skin.crow_feet:
        depth += np.clip(_crow_feet(places), 0, 1.2) * skin.crow_feet
    if skin.nasolabial_folds:
        depth += np.clip(_nasolabial_folds(places), 0, 1.2) * skin.nasolabial_folds
    if skin.eye_bags:
        depth += np.clip(_eye_bags(places), 0, 1.2) * skin.eye_bags
    paint.height -= depth * 0.35
    paint.colour = _tint(paint.colour, (0.78, 0.70, 0.70), np.clip(depth, 0, 1.5))


def _beard_area(places: Places) -> Floats:
    """(N,) the density of a beard, in [0, 1]."""
    across, (_, y, z) = places.across, places.points.T
    lip = _bell(z - 0.6735, 0.0042, 4) * _bell(across, 0.026, 4) * (1 - 0.5 * _bell(across, 0.003))
    jaw = smoothstep(0.668, 0.655, z + 0.12 * across - 0.7 * np.clip(across - 0.045, 0, 1))
    jaw = jaw * smoothstep(0.595, 0.612, z) * smoothstep(0.03, 0.04, across)
    side = smoothstep(0.048, 0.056, across) * smoothstep(0.715, 0.68, z) * smoothstep(0.60, 0.63, z)
    side = side * smoothstep(-0.04, -0.055, y)
    chin = _bell(across, 0.035, 4) * smoothstep(0.648, 0.640, z) * smoothstep(0.60, 0.612, z)
    area = np.clip(np.maximum.reduce([lip, jaw, chin, side * 0.9]), 0, 1)
    return np.asarray(area * (1 - places.lips) * np.maximum(places.front, 0.35))


def _paint_stubble(paint: Paint, places: Places, skin: Skin, seed: int) -> None:
    uneven = 0.75 + 0.35 * fractal_noise(places.points, 60, 3, seed)
    amount = np.clip(_beard_area(places) * uneven, 0, 1) * skin.stubble
    paint.colour = _tint(paint.colour, (0.76, 0.79, 0.82), amount)
    thick = spots(places.points, 1150, seed + 111, (0.22, 0.55), squash=0.45) * places.resolved(1000)
    thin = spots(places.points, 1500, seed + 117, (0.22, 0.50), squash=0.40) * places.resolved(1300)
    hairs = np.clip(np.maximum(thick, thin) * 1.4, 0, 1) * amount * 0.95
    paint.colour = _blend(paint.colour, linear(skin.beard_colour), hairs)
    paint.height += hairs * 0.1


def _paint_lips(paint: Paint, places: Places, lips: Lips, seed: int) -> None:
    across, z = places.across, places.points[:, 2]
    creases = value_noise(places.points, np.array([900.0, 135.0, 135.0]), seed + 130) * 0.6
    creases += value_noise(places.points, np.array([1700.0, 510.0, 425.0]), seed + 131) * 0.5
    paint.height += places.lips * creases * 0.10
    shade = 1 - 0.16 * np.clip(creases, -1, 1)
    paint.colour = _blend(paint.colour, linear(lips.colour) * shade[:, None], places.lips * lips.opacity)
    paint.shine = paint.shine * (1 - places.lips) + places.lips * lips.shine
    line = _bell(z - 0.6612, 0.0012) * _bell(across, 0.027, 6) * places.lips
    paint.colour *= 1 - 0.35 * line[:, None]


def _paint_lids(paint: Paint, places: Places, eyes: Eyes) -> None:
    """Paint the wet, reddish margin of the lids, and the dark line of the lashes' roots."""
    paint.colour = _blend(paint.colour, linear((120, 70, 65)), _bell(places.lid_distance, 0.0011) * 0.55)
    upper = places.points[:, 2] > 0.7275
    width = np.where(upper, eyes.liner_width, 0.0009)
    line = _bell(places.lid_distance, width) * np.where(upper, 0.85, 0.4) * eyes.liner
    paint.colour = _blend(paint.colour, linear((28, 18, 15)), line)


def _brow_coordinates(places: Places, brows: Brows) -> tuple[Floats, Floats, float]:
    """Position along the brow's curve (0 inner end, 1 outer end), metres above it, and the curve's length."""
    knots = np.asarray(brows.curve)
    curve = CubicSpline(np.arange(len(knots)), knots)(np.linspace(0, len(knots) - 1, 17))
    lengths = np.hypot(*np.diff(curve, axis=0).T)
    total = float(lengths.sum())
    points = np.stack([places.across, places.points[:, 2]], axis=1)
    nearest, along, above = np.full(len(points), 9.0), np.zeros(len(points)), np.zeros(len(points))
    passed, last = 0.0, len(lengths) - 1
    for number, length in enumerate(lengths):
        dx, dz = (curve[number + 1] - curve[number]) / length
        u, v = points[:, 0] - curve[number, 0], points[:, 1] - curve[number, 1]
        # The ends reach 2 cm further, so that the brow can fade out beyond them.
        place = np.clip(
            u * dx + v * dz, -0.02 if number == 0 else 0.0, length + (0.02 if number == last else 0.0)
        )
        off_u, off_v = u - place * dx, v - place * dz
        distance = np.hypot(off_u, off_v)
        closer = distance < nearest
        nearest[closer] = distance[closer]
        along[closer] = (passed + place[closer]) / total
        above[closer] = (off_v * dx - off_u * dz)[closer]
        passed += length
    return along, above, total


def _paint_brows(paint: Paint, places: Places, brows: Brows, seed: int) -> None:
    along, above, length = _brow_coordinates(places, brows)
    taper = np.interp(along, [-0.1, 0, 0.12, 0.5, 0.85, 1.05], [0.35, 0.75, 1, 0.9, 0.5, 0.12])
    half_width = np.maximum(brows.half_width * taper, 1e-5)
    spread = np.abs(above) / half_width
    envelope = (1 - smoothstep(0.55, 1.15, spread)) * smoothstep(-0.06, 0.05, along)
    envelope *= (1 - smoothstep(0.93, 1.06, along)) * (places.points[:, 1] < -0.085)
    # Hairs stand up at the inner end, lie down towards the outer end, and converge on the curve.
    angle = (
        np.radians(np.interp(along, [0, 0.2, 0.5, 1], [58, 32, 16, 6]))
        + np.where(above > 0, -0.35, 0.30) * spread
    )
    cosine, sine = np.cos(angle), np.sin(angle)
    hairs = np.stack(
        [
            along * length * cosine + above * sine,
            above * cosine - along * length * sine,
            np.sign(places.points[:, 0]) * 0.5,
        ],
        axis=1,
    )
    strands = value_noise(hairs, np.array([140.0, 1900.0, 1.0]), seed + 150) * 0.6
    strands += value_noise(hairs, np.array([240.0, 3000.0, 1.0]), seed + 151) * 0.5
    opacity = (
        np.clip(envelope * brows.density * (0.80 + 0.75 * strands), 0, 1)
        * np.clip(envelope * 2.6, 0, 1)
        * 0.95
    )
    colour = linear(brows.colour) * (0.75 + 0.5 * np.clip(strands, -0.6, 0.6))[:, None]
    paint.colour = _blend(paint.colour, colour, opacity)
    paint.height += opacity * 0.18
    paint.shine *= 1 - 0.6 * opacity


def _paint_scalp_hair(paint: Paint, places: Places, hair: Hair, seed: int) -> None:
    inside = hairline_distance(places.points, hair)
    ragged = 0.0035 * fractal_noise(places.points, 170, 3, seed + 170)
    strands_down = places.points * np.array([1.0, 1.0, 0.3])
    ragged += 0.0022 * value_noise(strands_down, np.full(3, 900.0), seed + 171)
    coverage = smoothstep(-0.004, 0.0045, inside + ragged)
    strand_places = strand_coordinates(places.points, hair, seed)
    strands = np.zeros(len(inside))
    for number, (across, along, weight) in enumerate(
        ((2000.0, 14.0, 0.5), (1000.0, 10.0, 0.6), (430.0, 9.0, 0.3), (140.0, 6.0, 0.22))
    ):
        visible = 1 - smoothstep(0.45, 1.0, places.texel * across)
        strands += (
            weight * value_noise(strand_places, np.array([across, along, 1.0]), seed + 180 + number) * visible
        )
    strands = np.clip(strands * 1.25, -1, 1)
    patches = fractal_noise(places.points, 260, 3, seed + 10)
    colour = np.clip(linear(hair.colour) * (1 + 0.6 * strands + 0.12 * patches)[:, None], 0.002, 1)
    solid = 0.75 + 0.6 * np.clip(strands, -0.4, 0.5) + 0.6 * smoothstep(0.0, 0.012, inside)
    opacity = np.clip(coverage * solid, 0, 1)
    paint.colour = _blend(paint.colour, colour, opacity)
    paint.height += opacity * strands * 0.32
    paint.shine = paint.shine * (1 - opacity) + opacity * (0.55 + 0.5 * strands) * hair.shine


def paint_skin(identity: Identity, places: Places, *, detailed: bool = True) -> Paint:
    """Colour, shine and relief of an identity's skin and hair.

    Args:
        identity: whose skin to paint.
        places: the points to paint.
        detailed: False leaves out what only texels resolve: pores, marks, brows and hair.

    Returns:
        Linear albedo in [0.001, 1], shine in [0, 2], height in millimetres.
    """
    skin, seed = identity.skin, identity.seed
    count = len(places.points)
    paint = Paint(np.tile(linear(skin.colour), (count, 1)), np.full(count, skin.shine), np.zeros(count))
    _paint_base(paint, places, skin, seed)
    if detailed:
        _paint_pores(paint, places, skin, seed)
        if skin.freckles:
            _paint_freckles(paint, places, skin, seed)
        if skin.moles:
            _paint_moles(paint, places, skin, seed)
        _paint_wrinkles(paint, places, skin, seed)
        if skin.stubble:
            _paint_stubble(paint, places, skin, seed)
        _paint_lips(paint, places, identity.lips, seed)
        _paint_lids(paint, places, identity.eyes)
        _paint_brows(paint, places, identity.brows, seed)
        _paint_scalp_hair(paint, places, identity.hair, seed)
    return Paint(np.clip(paint.colour, 0.001, 1), np.clip(paint.shine, 0, 2), paint.height)
