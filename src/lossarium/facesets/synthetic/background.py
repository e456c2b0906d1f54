"""Backgrounds: a gradient with blurred shapes, out of focus like a room behind a portrait."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lossarium.facesets.synthetic.mesh import Floats


def _colour(rng: np.random.Generator) -> Floats:
    return np.clip(rng.uniform(0.03, 0.6) * np.clip(1 + 0.25 * rng.normal(size=3), 0.3, 2), 0.01, 0.9)


def render_background(seed: int, size: int) -> npt.NDArray[np.float32]:
    """Linear RGB (size, size, 3), a function of the seed; the same composition at every size."""
    rng = np.random.default_rng(seed)
    x = np.arange(size) / size
    y = x[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
    picture = _colour(rng) * (1 - along) + _colour(rng) * along
    for _ in range(rng.integers(4, 12)):
        centre_x, centre_y = rng.uniform(-0.1, 1.1, 2)
        width, height = rng.uniform(0.05, 0.4, 2)
        colour = _colour(rng) * rng.uniform(0.4, 1.6)
        if rng.uniform() < 0.5:
            inside = (np.abs(x - centre_x) < width / 2) & (np.abs(y - centre_y) < height)
        else:
            inside = ((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2 < 0.5
        opacity = rng.uniform(0.3, 1)
        picture[inside] += (colour - picture[inside]) * opacity
    blur = size * rng.uniform(0.006, 0.035)
    picture = ndimage.gaussian_filter(picture.astype(np.float32), (blur, blur, 0), truncate=3.0)
    grain = ndimage.gaussian_filter(
        rng.standard_normal((size, size), dtype=np.float32), size / 256, truncate=3.0
    )
    return np.asarray(picture * (1 + rng.uniform(0, 0.05) * 2 * grain[..., None]), dtype=np.float32)
