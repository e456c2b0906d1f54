"""Backgrounds: a gradient with blurred shapes, out of focus like a room behind a portrait."""

import numpy as np
import numpy.typing as npt

from lossarium.synthesis.compiling import compiled
from lossarium.synthesis.mesh import Floats

Float32s = npt.NDArray[np.float32]
Pair = tuple[float, float]

_RUN = 512
"""How many numbers are blurred at a time: few enough to stay in the L1 cache."""


def _colour(rng: np.random.Generator) -> Floats:
    return np.clip(rng.uniform(0.03, 0.6) * np.clip(1 + 0.25 * rng.normal(size=3), 0.3, 2), 0.01, 0.9)


def _bell(sigma: float) -> Floats:
    """The weights (radius + 1,) of a Gaussian from its middle to three sigma; both sides sum to 1."""
    places = np.arange(int(3.0 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * places**2)
    return np.asarray(weights / np.concatenate([weights[:0:-1], weights]).sum())


def _reflected(count: int, margin: int) -> npt.NDArray[np.int64]:
    """Indices of a row with a mirrored margin on both sides, such as 1 0 | 0 1 2 3 | 3 2 for 4 and 2."""
    places = np.arange(-margin, count + margin) % (2 * count)
    return np.asarray(np.minimum(places, 2 * count - 1 - places))


@compiled
def _blur_rows(padded: Float32s, weights: Floats, stride: int) -> Float32s:
    """Blur rows (R, N + 2 * radius * stride), whose neighbouring pixels are `stride` apart, to (R, N)."""
    radius = len(weights) - 1
    rows, count = padded.shape[0], padded.shape[1] - 2 * radius * stride
    blurred = np.empty((rows, count), dtype=np.float32)
    sums = np.empty(_RUN)
    for row in range(rows):
        for start in range(0, count, _RUN):
            run = min(_RUN, count - start)
            middle = start + radius * stride
            here = padded[row, middle : middle + run]
            for n in range(run):
                sums[n] = here[n] * weights[0]
            # From the outermost weight inwards, since adding small numbers first is more exact.
            for distance in range(radius, 0, -1):
                step, weight = distance * stride, weights[distance]
                before = padded[row, middle - step : middle - step + run]
                after = padded[row, middle + step : middle + step + run]
                for n in range(run):
                    sums[n] += (float(before[n]) + float(after[n])) * weight
            blurred_run = blurred[row, start : start + run]
            for n in range(run):
                blurred_run[n] = sums[n]
    return blurred


def _blur(picture: Float32s, sigma: float) -> Float32s:
    """Gaussian blur of a picture (rows, columns, channels), mirrored at its borders."""
    rows, columns, channels = picture.shape
    weights = _bell(sigma)
    margin = len(weights) - 1
    padded = picture[_reflected(rows, margin)].reshape(1, -1)
    down = _blur_rows(padded, weights, columns * channels).reshape(picture.shape)
    padded = down[:, _reflected(columns, margin)].reshape(rows, -1)
    return _blur_rows(padded, weights, channels).reshape(picture.shape)


@compiled
def _lay_shape(
    picture: Floats, box: bool, centre: Pair, extent: Pair, colour: Floats, opacity: float
) -> None:
    """Draw a box or an ellipse over a picture (size, size, 3); coordinates are shares of its side."""
    size = picture.shape[0]
    for row in range(size):
        down = row / size - centre[1]
        for column in range(size):
            across = column / size - centre[0]
            if box:
                inside = abs(across) < extent[0] / 2 and abs(down) < extent[1]
            else:
                x, y = across / extent[0], down / extent[1]
                inside = x * x + y * y < 0.5
            if inside:
                for channel in range(3):
                    before = picture[row, column, channel]
                    picture[row, column, channel] = before + (colour[channel] - before) * opacity


def render_background(seed: int, size: int) -> Float32s:
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
        box = rng.uniform() < 0.5
        _lay_shape(picture, box, (centre_x, centre_y), (width, height), colour, rng.uniform(0.3, 1))
    blur = size * rng.uniform(0.006, 0.035)
    blurred = _blur(picture.astype(np.float32), blur)
    grain = _blur(rng.standard_normal((size, size, 1), dtype=np.float32), size / 256)
    return np.asarray(blurred * (1 + rng.uniform(0, 0.05) * 2 * grain), dtype=np.float32)
