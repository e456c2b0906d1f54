"""The state of a frame: everything that determines a picture except the identity.

Two identities rendered in the same state are an exact swap pair. A state is a function of (seed, frame
number) alone. Its numbers are rounded to six decimals and survive JSON unchanged, so that equal states have
equal digests on every machine.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lossarium.synthesis.mesh import Floats, Vector

CROP_ZOOM = 1.12
"""Size of the face in the frame; 1.2 cuts the chin of an open mouth."""
_DECIMALS = 6


@dataclass(frozen=True)
class Light:
    """A key light, a fill light from the other side, and light from above and below.

    Directions point from the face to the light (world axes, length 1); colours are linear RGB.
    """

    key_direction: Vector
    key_colour: Vector
    fill_direction: Vector
    fill_colour: Vector
    sky_colour: Vector
    ground_colour: Vector


@dataclass(frozen=True)
class Crop:
    """How a frame is cropped, with random errors, since alignment in real facesets is never perfect."""

    zoom: float
    shift_right: float
    """Share of the frame's side."""
    shift_down: float
    log_scale: float
    roll: float
    """Degrees."""


@dataclass(frozen=True)
class FrameState:
    """Everything that determines a frame, except the identity and the size in pixels."""

    seed: int
    frame: int
    mood: str
    """The kind of expression it was drawn from."""
    expression: Mapping[str, float]
    """Weights of face units in [0, 1]; `eyeBlink*` is the closed share of the eye's opening."""
    gaze_yaw: float
    """Degrees, positive to the right of the picture; turns the eyeballs, not the lids."""
    gaze_pitch: float
    """Degrees, positive up."""
    pupil: float
    """The pupil's radius as a share of the iris's radius."""
    yaw: float
    """Degrees of the head about its vertical axis, positive to the right of the picture."""
    pitch: float
    roll: float
    light: Light
    background: int
    """Seed of the background."""
    crop: Crop


def state_to_json(state: FrameState) -> dict[str, Any]:
    """A state as JSON values: objects, lists, numbers and strings."""
    values = asdict(state)
    values["expression"] = dict(state.expression)
    values["light"] = {name: list(value) for name, value in values["light"].items()}
    return values


def state_from_json(values: Mapping[str, Any]) -> FrameState:
    """The state of the JSON values that `state_to_json` returned."""
    light = Light(**{name: tuple(value) for name, value in values["light"].items()})
    return FrameState(**{**values, "light": light, "crop": Crop(**values["crop"])})


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS) + 0.0


def _vector(values: Floats) -> Vector:
    x, y, z = (_rounded(value) for value in values)
    return x, y, z


_MOODS = {
    "neutral": 0.12,
    "smile": 0.20,
    "open": 0.12,
    "talk": 0.20,
    "frown": 0.08,
    "surprise": 0.08,
    "pucker": 0.06,
    "squint": 0.06,
    "mix": 0.08,
}
"""Kinds of expressions and their probabilities."""


class _Expression:
    """Collects the weights of face units; both sides of a face get nearly the same weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.units: dict[str, float] = {}

    def draw(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.uniform() < probability)

    def set(self, unit: str, value: float) -> None:
        self.units[unit] = _rounded(np.clip(value, 0.0, 1.0))

    def both(self, unit: str, value: float, asymmetry: float = 0.15) -> None:
        for side in ("Left", "Right"):
            self.set(unit + side, value * (1 + self.draw(-asymmetry, asymmetry)))


def _smile(face: _Expression) -> None:
    strength = face.draw(0.35, 1.0)
    face.both("mouthSmile", strength)
    face.both("cheekSquint", strength * face.draw(0.2, 0.7))
    face.both("mouthUpperUp", strength * face.draw(0.0, 0.4))
    face.set("jawOpen", face.draw(0.0, 0.35))


def _open(face: _Expression) -> None:
    face.set("jawOpen", face.draw(0.3, 0.9))
    face.both("mouthUpperUp", face.draw(0.0, 0.5))
    face.both("mouthLowerDown", face.draw(0.0, 0.4))


def _talk(face: _Expression) -> None:
    face.set("jawOpen", face.draw(0.05, 0.45))
    face.both("mouthLowerDown", face.draw(0.0, 0.6))
    face.both("mouthUpperUp", face.draw(0.0, 0.45))
    face.both("mouthStretch", face.draw(0.0, 0.4))
    face.set("mouthFunnel", face.draw(0.0, 0.5))


def _frown(face: _Expression) -> None:
    face.both("mouthFrown", face.draw(0.3, 1.0))
    face.both("browDown", face.draw(0.2, 0.8))
    face.both("noseSneer", face.draw(0.0, 0.5))


def _surprise(face: _Expression) -> None:
    face.set("browInnerUp", face.draw(0.5, 1.0))
    face.both("browOuterUp", face.draw(0.5, 1.0))
    face.both("eyeWide", face.draw(0.3, 1.0))
    face.set("jawOpen", face.draw(0.2, 0.7))


def _squint(face: _Expression) -> None:
    face.both("eyeSquint", face.draw(0.4, 1.0))
    face.both("browDown", face.draw(0.2, 0.6))
    face.both("cheekSquint", face.draw(0.2, 0.6))


def _brows(face: _Expression) -> None:
    if face.chance(0.35):
        face.set("browInnerUp", face.draw(0.0, 0.6))
    if face.chance(0.25):
        face.both("browOuterUp", face.draw(0.0, 0.6), asymmetry=0.5)
    if face.chance(0.2):
        face.both("browDown", face.draw(0.0, 0.4))


def _sample_mood(face: _Expression, mood: str) -> None:
    if mood in ("smile", "mix"):
        _smile(face)
    if mood in ("talk", "mix"):
        _talk(face)
    if mood == "open":
        _open(face)
    if mood == "frown":
        _frown(face)
    if mood == "surprise":
        _surprise(face)
    if mood == "pucker":
        face.set("mouthPucker", face.draw(0.4, 1.0))
    if mood == "squint":
        _squint(face)
    if mood not in ("surprise", "squint", "frown"):
        _brows(face)
    if mood != "surprise":
        closed = face.draw(0.5, 1.0) if face.chance(0.14) else face.draw(0.04, 0.22)
        face.both("eyeBlink", closed, asymmetry=0.03)


def _lids_follow(face: _Expression, right: float, up: float) -> None:
    """Move the lids and the skin around the eyes with the gaze; arguments in [-1, 1]."""
    for unit, amount in (
        ("eyeLookOutLeft", right),
        ("eyeLookInRight", right),
        ("eyeLookInLeft", -right),
        ("eyeLookOutRight", -right),
        ("eyeLookUpLeft", up),
        ("eyeLookUpRight", up),
        ("eyeLookDownLeft", -up),
        ("eyeLookDownRight", -up),
    ):
        if amount > 0:
            face.set(unit, amount)


def _sample_light(rng: np.random.Generator) -> Light:
    """Sample a light under which no face is very dark: the key light is never behind or steeply above."""
    azimuth = np.radians(np.clip(rng.normal(0, 38), -75, 75))
    elevation = np.radians(rng.uniform(-5, 36))
    key = np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    warmth = rng.uniform(-1, 1)
    key_colour = np.array([1 + 0.16 * warmth, 1.0, 1 - 0.22 * warmth]) * rng.uniform(0.8, 1.35)
    opposite = azimuth + np.pi * rng.uniform(0.5, 0.9) * rng.choice([-1, 1])
    fill = np.array([np.sin(opposite) * 0.9, -np.cos(opposite) * 0.9, 0.3])
    fill /= np.sqrt((fill**2).sum())
    fill_colour = np.clip(1 + 0.15 * rng.normal(size=3), 0.5, 1.5) * rng.uniform(0.10, 0.40)
    ambient = rng.uniform(0.30, 0.52)
    sky = ambient * np.clip(1 + 0.10 * rng.normal(size=3), 0.75, 1.3)
    ground = ambient * rng.uniform(0.35, 0.75) * np.array([1.05, 0.97, 0.90])
    return Light(
        _vector(key), _vector(key_colour), _vector(fill), _vector(fill_colour), _vector(sky), _vector(ground)
    )


def _sample_crop(rng: np.random.Generator) -> Crop:
    right, down, scale, roll = rng.normal(0, 1, 4) * np.array([0.010, 0.010, 0.012, 0.6])
    return Crop(CROP_ZOOM, _rounded(right), _rounded(down), _rounded(scale), _rounded(roll))


def sample_state(seed: int, frame: int) -> FrameState:
    """The state of a frame, a function of the two numbers alone."""
    rng = np.random.default_rng([seed, frame])
    face = _Expression(rng)
    mood = str(rng.choice(list(_MOODS), p=list(_MOODS.values())))
    _sample_mood(face, mood)
    right, up = np.clip(rng.normal(0, 0.5), -1, 1), np.clip(rng.normal(0, 0.3), -0.8, 0.8)
    _lids_follow(face, float(right), float(up))
    yaw, pitch, roll = np.clip(rng.normal(0, 1, 3) * np.array([12, 7, 5]), [-25, -14, -12], [25, 14, 12])
    return FrameState(
        seed=seed,
        frame=frame,
        mood=mood,
        expression=dict(sorted(face.units.items())),
        gaze_yaw=_rounded(right * 24),
        gaze_pitch=_rounded(up * 14),
        pupil=_rounded(rng.uniform(0.30, 0.44)),
        yaw=_rounded(yaw),
        pitch=_rounded(pitch),
        roll=_rounded(roll),
        light=_sample_light(rng),
        background=int(rng.integers(1 << 30)),
        crop=_sample_crop(rng),
    )
