"""Procedural noise: smooth value noise, its octaves, and random spots, all counter-based and so reproducible.

A value is an integer hash of the lattice point and the seed. It does not depend on which other points are
computed, or in which order.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.compiling import compiled
from lossarium.synthesis.mesh import Floats

_LATTICE_OFFSET = 1000.0
"""Keeps lattice coordinates positive, so that truncation is floor."""

# A fixed random rotation (QR of a normal 3 x 3 matrix), so that the noise's lattice is not aligned with the
# face's plane of symmetry.
LATTICE_ROTATION: Floats = np.array(
    [
        [-0.75597169, -0.18344040, -0.62837603],
        [0.39634897, -0.89224206, -0.21635988],
        [-0.52097438, -0.41261813, 0.74721615],
    ]
)


def smoothstep(low: float, high: float, value: Any) -> Any:
    """Hermite step: 0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


@compiled
def hash_lattice(i: int, j: int, k: int, seed: int) -> float:
    """A pseudorandom value in [0, 1], a hash of a lattice point and a seed."""
    mask = np.uint64(0xFFFFFFFF)
    # Each factor is below 2**32, so no product passes 2**64.
    value = (
        (np.uint64(i) & mask) * np.uint64(374761393)
        ^ (np.uint64(j) & mask) * np.uint64(668265263)
        ^ (np.uint64(k) & mask) * np.uint64(2147483647)
        ^ (np.uint64(seed) & mask) * np.uint64(1274126177)
    ) & mask
    value = ((value ^ (value >> np.uint64(13))) * np.uint64(1274126177)) & mask
    value = ((value ^ (value >> np.uint64(15))) * np.uint64(2246822519)) & mask
    value = value ^ (value >> np.uint64(16))
    return float(np.int64(value & np.uint64(0xFFFFFF))) / 16777215.0


@compiled
def noise_at(x: float, y: float, z: float, seed: int) -> float:
    """Value noise with quintic fade, in [-1, 1], one lattice cell per unit."""
    x += _LATTICE_OFFSET
    y += _LATTICE_OFFSET
    z += _LATTICE_OFFSET
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    x -= i
    y -= j
    z -= k
    x = x * x * x * (x * (x * 6.0 - 15.0) + 10.0)
    y = y * y * y * (y * (y * 6.0 - 15.0) + 10.0)
    z = z * z * z * (z * (z * 6.0 - 15.0) + 10.0)
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                weight = (x if a else 1.0 - x) * (y if b else 1.0 - y) * (z if c else 1.0 - z)
                total += weight * hash_lattice(i + a, j + b, k + c, seed)
    return total * 2.0 - 1.0


@compiled
def line_noise(x: float, seed: int) -> float:
    """Value noise along a line, in [0, 1], one lattice cell per unit."""
    x += _LATTICE_OFFSET
    i = int(np.floor(x))
    share = x - i
    share = share * share * (3.0 - 2.0 * share)
    return hash_lattice(i, 17, 3, seed) * (1.0 - share) + hash_lattice(i + 1, 17, 3, seed) * share


@compiled
def value_noise(points: Floats, frequencies: Floats, seed: int) -> Floats:
    """Value noise in [-1, 1] at points (N, 3), with a frequency (cells per metre) for each axis (3,)."""
    values = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        values[n] = noise_at(
            points[n, 0] * frequencies[0], points[n, 1] * frequencies[1], points[n, 2] * frequencies[2], seed
        )
    return values


@compiled
def _octaves(points: Floats, rotation: Floats, frequency: float, count: int, seed: int) -> Floats:
    values = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        u = x * rotation[0, 0] + y * rotation[1, 0] + z * rotation[2, 0]
        v = x * rotation[0, 1] + y * rotation[1, 1] + z * rotation[2, 1]
        w = x * rotation[0, 2] + y * rotation[1, 2] + z * rotation[2, 2]
        total, amplitude, amplitudes, scale = 0.0, 1.0, 0.0, frequency
        for octave in range(count):
            total += amplitude * noise_at(u * scale, v * scale, w * scale, seed + octave)
            amplitudes += amplitude
            amplitude *= 0.55
            scale *= 2.0
        values[n] = total / amplitudes * 1.6
    return values


def fractal_noise(points: Floats, frequency: float, octaves: int, seed: int) -> Floats:
    """Octaves of value noise at points (N, 3), about [-1, 1]; the first has `frequency` cells per metre."""
    return _octaves(points, LATTICE_ROTATION, float(frequency), octaves, seed)


@compiled
def _spots(
    points: Floats,
    rotation: Floats,
    frequency: float,
    seed: int,
    smallest: float,
    largest: float,
    squash: float,
) -> Floats:
    values = np.zeros(points.shape[0])
    for n in range(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x = (px * rotation[0, 0] + py * rotation[1, 0] + pz * rotation[2, 0]) * frequency + _LATTICE_OFFSET
        y = (px * rotation[0, 1] + py * rotation[1, 1] + pz * rotation[2, 1]) * frequency + _LATTICE_OFFSET
        z = (
            px * rotation[0, 2] + py * rotation[1, 2] + pz * rotation[2, 2]
        ) * frequency * squash + _LATTICE_OFFSET
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        strongest = 0.0
        for a in range(i - 1, i + 2):
            for b in range(j - 1, j + 2):
                for c in range(k - 1, k + 2):
                    dx = a + hash_lattice(a, b, c, seed) - x
                    dy = b + hash_lattice(a, b, c, seed + 7) - y
                    dz = c + hash_lattice(a, b, c, seed + 13) - z
                    squared = dx * dx + dy * dy + dz * dz
                    if squared >= largest * largest:
                        continue
                    size = hash_lattice(a, b, c, seed + 29)
                    inside = 1.0 - np.sqrt(squared) / (smallest + (largest - smallest) * size * size)
                    if inside > 0.0:
                        strength = min(1.0, inside * 2.2) * (0.45 + 0.55 * hash_lattice(a, b, c, seed + 41))
                        strongest = max(strongest, strength)
        values[n] = strongest
    return values


def spots(
    points: Floats, frequency: float, seed: int, radii: tuple[float, float], squash: float = 1.0
) -> npt.NDArray[np.float64]:
    """Soft spots (freckles, pores, stubble), one at a random position in each lattice cell.

    Args:
        points: (N, 3) metres.
        frequency: cells per metre.
        seed: of positions, sizes and strengths.
        radii: smallest and largest radius, in cells.
        squash: factor on the frequency along the lattice's third axis: 0.5 makes spots twice as long.

    Returns:
        (N,) coverage in [0, 1].
    """
    return _spots(points, LATTICE_ROTATION, float(frequency), seed, radii[0], radii[1], float(squash))
