"""Scalp hair: the hairline, the direction of the strands, and the volume that hair adds to the head."""

import numpy as np
from scipy.spatial import cKDTree

from lossarium.synthesis.head import HeadModel
from lossarium.synthesis.identities import Hair
from lossarium.synthesis.mesh import Booleans, Floats
from lossarium.synthesis.noise import fractal_noise, smoothstep

# The hairline seen from the side, in metres: height z over depth y, from in front of the forehead to behind
# the head.
_HAIRLINE_DEPTHS = (-0.175, -0.15, -0.12, -0.085, -0.062, -0.055, -0.045, -0.02, 0.0, 0.03, 0.06)
_HAIRLINE_HEIGHTS = (0.812, 0.803, 0.790, 0.765, 0.735, 0.700, 0.700, 0.722, 0.700, 0.660, 0.650)
_HAIRLINE_RAISED = (1.0, 1.0, 1.0, 1.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Factor on the identity's `hairline_raised` at each depth: 1 at the forehead, 0 at the ears."""


def hairline_distance(points: Floats, hair: Hair) -> Floats:
    """Approximate distance of template points (N, 3) from the hairline: metres, negative on bare skin."""
    x, y, z = points.T
    heights = np.asarray(_HAIRLINE_HEIGHTS) + np.asarray(_HAIRLINE_RAISED) * hair.hairline_raised
    line = np.interp(y, _HAIRLINE_DEPTHS, heights)
    peak = hair.widows_peak * np.exp(-((x / 0.012) ** 2)) * (y < -0.1)
    ear = smoothstep(0.0705, 0.0735, np.abs(x)) * smoothstep(0.745, 0.738, z)
    ear = ear * smoothstep(-0.065, -0.058, y) * smoothstep(0.014, 0.008, y)
    return np.asarray(z - line + peak - 0.1 * ear)


def strand_coordinates(points: Floats, hair: Hair, seed: int) -> Floats:
    """Coordinates (N, 3) across and along the strands, metres; the third is zero.

    Noise that is stretched along the strands looks like hair.
    """
    x, y, z = points.T
    around = np.arctan2(x - hair.parting * smoothstep(0.80, 0.84, z), z - 0.72) * 0.095
    wave = fractal_noise(points, 20, 1, seed + 8) * 0.003
    if hair.combed == "back":
        across, along = around + wave, y
    else:
        across, along = y + 0.25 * (z - 0.75) + wave, around
    return np.stack([across, along, np.zeros(len(x))], axis=1)


def _ears(points: Floats) -> Booleans:
    x, y, z = points.T
    return np.asarray((np.abs(x) > 0.0705) & (z < 0.742) & (y > -0.06) & (y < 0.005))


def hair_thickness(head: HeadModel, hair: Hair, seed: int) -> Floats:
    """How far hair stands off the scalp at each fine vertex (V,), metres; zero elsewhere."""
    points = head.fine_template
    bare = hairline_distance(points, hair) <= 0
    from_bare = cKDTree(points[bare]).query(points)[0]
    rise = smoothstep(0.001, hair.ramp, from_bare) * ~_ears(points) * (points[:, 2] >= 0.60)
    scalp = np.zeros(len(points))
    scalp[head.region_vertices] = 1.0
    top = smoothstep(0.76, 0.83, points[:, 2])
    sides_thick, top_thick = hair.thickness
    locks = 0.75 + 0.25 * (1 + fractal_noise(points, 55, 2, seed + 300))
    return np.asarray(rise * scalp * (sides_thick * (1 - top) + top_thick * top) * locks)
