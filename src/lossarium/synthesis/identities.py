"""The identities: four named ones, and sampled adults. All are made up; none is a real person's likeness."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lossarium.errors import LossariumError
from lossarium.synthesis.phenotype import Phenotype

Colour = tuple[float, float, float]
"""Red, green, blue: sRGB in [0, 255]."""


@dataclass(frozen=True)
class Mole:
    """A mole on the template face."""

    x: float
    z: float
    """Metres in the template's frontal plane."""
    radius: float
    """Millimetres."""
    strength: float
    """Opacity in [0, 1]."""


@dataclass(frozen=True)
class Skin:
    """The colour of skin, and its details as amounts: 0 for none, about 1 for much."""

    colour: Colour
    flush: Colour = (1.03, 0.80, 0.78)
    """Factors on linear red, green, blue where the skin is flushed: cheeks, nose, ears."""
    blotches: Colour = (0.05, 0.09, 0.09)
    """Relative unevenness of red, green, blue."""
    freckles: float = 0.0
    pores: float = 1.0
    moles: tuple[Mole, ...] = ()
    shine: float = 0.55
    tired_eyes: float = 1.0
    forehead_lines: float = 0.0
    crow_feet: float = 0.0
    nasolabial_folds: float = 0.0
    eye_bags: float = 0.0
    stubble: float = 0.0
    beard_colour: Colour = (40, 30, 26)
    eye_shadow: float = 0.0
    eye_shadow_colour: Colour = (96, 52, 60)


@dataclass(frozen=True)
class Lips:
    """Lip colour, its opacity over the skin, and its shine."""

    colour: Colour
    opacity: float = 0.8
    shine: float = 1.0


@dataclass(frozen=True)
class Brows:
    """Brows, painted hair by hair along a curve."""

    colour: Colour
    curve: tuple[tuple[float, float], ...]
    """Points (|x|, z) on the template from the inner to the outer end, metres."""
    half_width: float = 0.004
    """Metres."""
    density: float = 1.0


@dataclass(frozen=True)
class Hair:
    """Scalp hair: a displaced volume with loose strands over it."""

    colour: Colour
    thickness: tuple[float, float]
    """Metres at the sides and on top."""
    hairline_raised: float = 0.0
    """Metres, positive for a higher forehead."""
    widows_peak: float = 0.0
    """Metres by which the hairline dips in the middle."""
    combed: str = "back"
    """`back` from the forehead, or `side` from a parting."""
    parting: float = 0.0
    """Metres to the person's left."""
    shine: float = 0.8
    ramp: float = 0.03
    """Metres over which the volume rises from the hairline."""
    loose: float = 0.5
    """How far loose strands stand out from the volume; 0 for none."""


@dataclass(frozen=True)
class Eyes:
    """Eye colour and the dark lines around the eyes."""

    inner_iris: Colour
    outer_iris: Colour
    sclera: Colour = (230, 223, 216)
    liner_width: float = 0.0011
    """Metres."""
    liner: float = 0.7
    lashes: float = 0.75
    """Opacity in [0, 1]."""


@dataclass(frozen=True)
class Identity:
    """Everything that determines a synthetic person."""

    name: str
    seed: int
    """The seed of the identity's procedural detail: pores, freckles, hair."""
    phenotype: Phenotype
    skin: Skin
    lips: Lips
    brows: Brows
    hair: Hair
    eyes: Eyes
    clothes: Colour
    shape: Mapping[str, float] = field(default_factory=dict)
    """MakeHuman's local targets, by the name of the positive one without `l-` or `r-` -> value in [-1, 1]."""


def _ada() -> Identity:
    return Identity(
        name="ada",
        seed=29,
        phenotype=Phenotype(
            gender=1.0,
            age=0.66,
            muscle=0.45,
            weight=0.45,
            african=0.75,
            asian=0.35,
            caucasian=0.1,
            proportions=0.8,
        ),
        skin=Skin(
            colour=(150, 98, 70),
            flush=(1.04, 0.84, 0.82),
            blotches=(0.09, 0.10, 0.10),
            freckles=0.7,
            pores=1.3,
            moles=(
                Mole(-0.030, 0.672, 1.3, 0.9),
                Mole(0.020, 0.697, 1.0, 0.7),
                Mole(0.050, 0.700, 0.9, 0.6),
                Mole(0.012, 0.772, 0.9, 0.5),
            ),
            shine=0.8,
            tired_eyes=0.6,
            eye_shadow=0.35,
        ),
        lips=Lips((128, 46, 52), opacity=0.85, shine=1.3),
        brows=Brows(
            (26, 17, 13),
            ((0.0135, 0.7500), (0.024, 0.7532), (0.037, 0.7562), (0.049, 0.7545), (0.060, 0.7465)),
            half_width=0.0034,
            density=1.05,
        ),
        hair=Hair((30, 22, 19), (0.014, 0.022), hairline_raised=-0.006, parting=0.02, shine=0.9, loose=0.9),
        eyes=Eyes(
            (92, 52, 24), (120, 76, 36), sclera=(228, 220, 212), liner_width=0.0019, liner=1.0, lashes=1.0
        ),
        clothes=(150, 60, 58),
        shape={
            "eye-scale-incr": 0.12,
            "mouth-upperlip-volume-incr": 0.5,
            "mouth-lowerlip-volume-incr": 0.5,
            "nose-scale-horiz-incr": 0.15,
            "nose-point-up": 0.2,
            "chin-width-incr": -0.4,
            "cheek-bones-incr": 0.4,
            "eye-corner2-up": 0.4,
            "head-scale-horiz-incr": -0.1,
            "chin-jaw-drop-incr": -0.2,
            "forehead-scale-vert-incr": 0.1,
        },
    )


def _ben() -> Identity:
    return Identity(
        name="ben",
        seed=11,
        phenotype=Phenotype(
            gender=0.0,
            age=0.74,
            muscle=0.6,
            weight=0.5,
            african=0.0,
            asian=0.05,
            caucasian=1.0,
            proportions=0.6,
        ),
        skin=Skin(
            colour=(226, 176, 152),
            flush=(1.02, 0.74, 0.72),
            freckles=0.85,
            pores=1.1,
            moles=(Mole(0.033, 0.676, 1.5, 0.8),),
            forehead_lines=0.6,
            crow_feet=0.6,
            nasolabial_folds=0.55,
            eye_bags=0.4,
            stubble=0.75,
            beard_colour=(96, 58, 36),
        ),
        lips=Lips((186, 112, 102), opacity=0.75, shine=0.7),
        brows=Brows(
            (104, 62, 34),
            ((0.013, 0.7482), (0.024, 0.7505), (0.038, 0.7520), (0.050, 0.7505), (0.060, 0.7435)),
            half_width=0.0044,
        ),
        hair=Hair((128, 76, 40), (0.006, 0.016), widows_peak=0.004, shine=0.6, loose=0.8),
        eyes=Eyes((92, 140, 178), (150, 165, 150), liner_width=0.0009, liner=0.6, lashes=0.55),
        clothes=(60, 74, 92),
        shape={
            "nose-hump-incr": 0.5,
            "nose-scale-vert-incr": 0.3,
            "nose-point-up": -0.25,
            "chin-width-incr": 0.5,
            "chin-prominent-incr": 0.4,
            "chin-cleft-incr": 0.5,
            "cheek-bones-incr": 0.3,
            "eye-scale-incr": 0.05,
            "eye-height1-incr": 0.5,
            "eye-height2-incr": 0.6,
            "eye-height3-incr": 0.5,
            "eyebrows-trans-forward": 0.1,
            "eyebrows-trans-up": 0.3,
            "head-scale-horiz-incr": 0.1,
            "mouth-upperlip-volume-incr": -0.3,
            "mouth-scale-horiz-incr": 0.15,
            "ear-wing-incr": 0.3,
        },
    )


def _chi() -> Identity:
    return Identity(
        name="chi",
        seed=47,
        phenotype=Phenotype(
            gender=0.9,
            age=0.70,
            muscle=0.4,
            weight=0.55,
            african=0.05,
            asian=1.0,
            caucasian=0.1,
            proportions=0.6,
        ),
        skin=Skin(
            colour=(222, 178, 145),
            flush=(1.03, 0.80, 0.76),
            freckles=0.15,
            pores=0.8,
            moles=(Mole(0.026, 0.664, 1.1, 0.85), Mole(-0.045, 0.715, 0.9, 0.6)),
            shine=0.65,
            tired_eyes=0.8,
            eye_bags=0.2,
        ),
        lips=Lips((186, 92, 92), opacity=0.8, shine=1.2),
        brows=Brows(
            (44, 32, 28),
            ((0.014, 0.7495), (0.025, 0.7520), (0.038, 0.7535), (0.050, 0.7510), (0.059, 0.7455)),
            half_width=0.0032,
            density=0.95,
        ),
        hair=Hair(
            (26, 22, 23), (0.016, 0.020), hairline_raised=-0.004, combed="side", parting=-0.025, loose=0.7
        ),
        eyes=Eyes((58, 36, 22), (84, 54, 32), liner_width=0.0014, liner=0.9, lashes=0.85),
        clothes=(214, 204, 184),
        shape={
            "head-round": 0.4,
            "cheek-volume-incr": 0.3,
            "cheek-bones-incr": 0.3,
            "chin-width-incr": -0.2,
            "nose-scale-vert-incr": -0.2,
            "mouth-lowerlip-volume-incr": 0.2,
        },
    )


def _dev() -> Identity:
    return Identity(
        name="dev",
        seed=61,
        phenotype=Phenotype(
            gender=0.05,
            age=0.88,
            muscle=0.5,
            weight=0.7,
            african=0.25,
            asian=0.35,
            caucasian=0.7,
            proportions=0.5,
        ),
        skin=Skin(
            colour=(186, 130, 96),
            flush=(1.04, 0.82, 0.78),
            blotches=(0.07, 0.10, 0.10),
            freckles=0.25,
            pores=1.4,
            moles=(Mole(0.048, 0.688, 1.4, 0.8),),
            shine=0.6,
            tired_eyes=1.3,
            forehead_lines=1.0,
            crow_feet=0.9,
            nasolabial_folds=0.9,
            eye_bags=0.8,
            stubble=1.0,
            beard_colour=(112, 104, 98),
        ),
        lips=Lips((150, 86, 78), opacity=0.65, shine=0.7),
        brows=Brows(
            (62, 54, 50),
            ((0.013, 0.7490), (0.024, 0.7525), (0.038, 0.7545), (0.050, 0.7525), (0.061, 0.7445)),
            half_width=0.0050,
        ),
        hair=Hair(
            (134, 128, 124), (0.005, 0.011), hairline_raised=0.012, combed="side", parting=0.03, loose=0.6
        ),
        eyes=Eyes((86, 58, 32), (112, 82, 46), sclera=(226, 216, 204), liner=0.6, lashes=0.6),
        clothes=(52, 88, 70),
        shape={
            "nose-scale-horiz-incr": 0.3,
            "nose-hump-incr": 0.3,
            "nose-scale-vert-incr": 0.2,
            "head-square": 0.3,
            "chin-width-incr": 0.3,
            "neck-double-incr": 0.2,
            "eyebrows-trans-up": 0.2,
        },
    )


def named_identities() -> dict[str, Identity]:
    """The identities that have a name: `ada`, `ben`, `chi` and `dev`."""
    return {identity.name: identity for identity in (_ada(), _ben(), _chi(), _dev())}


# Sampled skin colours lie on this line from the lightest to the darkest, so that none is greyish; sRGB.
_SKIN_LINE = ((236, 194, 170), (222, 174, 144), (200, 146, 112), (168, 114, 82), (132, 84, 58), (98, 60, 42))
_HAIR_LINE = ((24, 19, 17), (44, 31, 25), (82, 54, 36), (124, 76, 42), (176, 130, 78))
_IRIS_LINE = ((58, 36, 22), (92, 58, 28), (112, 98, 52), (96, 128, 120), (88, 136, 176))

_SAMPLED_SHAPE = {
    "nose-hump-incr": (-0.2, 0.5),
    "nose-scale-vert-incr": (-0.3, 0.4),
    "nose-scale-horiz-incr": (-0.3, 0.4),
    "nose-point-up": (-0.3, 0.3),
    "chin-width-incr": (-0.5, 0.5),
    "chin-prominent-incr": (-0.2, 0.4),
    "chin-cleft-incr": (0.0, 0.5),
    "cheek-bones-incr": (-0.2, 0.5),
    "cheek-volume-incr": (-0.4, 0.5),
    "eye-scale-incr": (-0.05, 0.15),
    "eye-corner2-up": (-0.2, 0.4),
    "eyebrows-trans-up": (0.1, 0.4),
    "head-scale-horiz-incr": (-0.15, 0.15),
    "head-oval": (0.0, 0.4),
    "head-square": (0.0, 0.3),
    "forehead-scale-vert-incr": (-0.2, 0.2),
    "mouth-scale-horiz-incr": (-0.2, 0.2),
    "mouth-upperlip-volume-incr": (-0.3, 0.4),
    "mouth-lowerlip-volume-incr": (-0.2, 0.4),
    "ear-wing-incr": (-0.2, 0.4),
    "ear-scale-incr": (-0.2, 0.2),
}
"""The local targets of a sampled identity, and the range from which each is drawn."""


def _along(line: tuple[Colour, ...], share: float) -> Colour:
    places = np.linspace(0, 1, len(line))
    red, green, blue = (float(np.interp(share, places, channel)) for channel in zip(*line, strict=True))
    return round(red, 1), round(green, 1), round(blue, 1)


def _scaled(colour: Colour, factors: Colour) -> Colour:
    red, green, blue = (round(float(np.clip(c * f, 0, 255)), 1) for c, f in zip(colour, factors, strict=True))
    return red, green, blue


def sample_identity(seed: int, number: int) -> Identity:
    """Make up an adult.

    Args:
        seed: the seed of the synthesis.
        number: 1 for the first, 2 for the second, ...; the identity is a function of seed and number.
    """
    rng = np.random.default_rng([seed, number, 0x1DE47])

    def draw(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    ancestry = rng.dirichlet((0.6, 0.6, 0.6))
    woman = bool(rng.uniform() < 0.5)
    age = draw(0.64, 0.92)
    years_shown = (age - 0.64) / 0.28
    # Skin colour correlates only loosely with the ancestries of MakeHuman's targets, as in life.
    darkness = float(np.clip(ancestry @ np.array([0.75, 0.30, 0.15]) + rng.normal(0, 0.10), 0, 1))
    skin_colour = _along(_SKIN_LINE, darkness)
    hair_share = float(np.clip(rng.uniform(0, 1.1) * (1 - 1.3 * darkness), 0, 1))
    hair_colour = _along(_HAIR_LINE, hair_share)
    grey = float(np.clip((years_shown - 0.55) * 2 * rng.uniform(0, 1), 0, 0.85))
    hair_colour = _along((hair_colour, (150, 145, 140)), grey)
    brow_colour = _scaled(hair_colour, (0.80, 0.78, 0.75))
    iris = _along(_IRIS_LINE, float(np.clip(rng.uniform(0, 1.3) * (1 - 1.6 * darkness), 0, 1)))
    # The inner end is below the arch, but not so low that the face looks angry.
    inner, arch, outer = draw(0.7496, 0.7516), draw(0.7530, 0.7552), draw(0.7450, 0.7480)
    stubble = 0.0 if woman else round(max(0.0, draw(-0.3, 1.0)), 4)
    return Identity(
        name=f"random-{seed}-{number}",
        seed=int(rng.integers(1, 100_000)),
        phenotype=Phenotype(
            gender=draw(0.85, 1.0) if woman else draw(0.0, 0.15),
            age=age,
            muscle=draw(0.3, 0.7),
            weight=draw(0.3, 0.8),
            african=round(float(ancestry[0]), 4),
            asian=round(float(ancestry[1]), 4),
            caucasian=round(float(ancestry[2]), 4),
            proportions=draw(0.3, 0.8),
        ),
        skin=Skin(
            colour=skin_colour,
            flush=(1.03, draw(0.76, 0.86), draw(0.74, 0.84)),
            blotches=(0.06, 0.09, 0.09),
            freckles=round(max(0.0, draw(-0.6, 0.9)), 4),
            pores=draw(0.7, 1.4),
            moles=tuple(
                Mole(draw(-0.05, 0.05), draw(0.63, 0.78), draw(0.8, 1.5), draw(0.5, 0.9))
                for _ in range(int(rng.integers(0, 4)))
            ),
            shine=draw(0.45, 0.8),
            tired_eyes=draw(0.5, 1.2),
            forehead_lines=round(years_shown * draw(0.3, 1.0), 4),
            crow_feet=round(years_shown * draw(0.3, 1.0), 4),
            nasolabial_folds=round(years_shown * draw(0.4, 1.0), 4),
            eye_bags=round(years_shown * draw(0.2, 0.8), 4),
            stubble=stubble,
            beard_colour=_scaled(hair_colour, (0.85, 0.85, 0.85)),
            eye_shadow=round(max(0.0, draw(-0.4, 0.4)), 4) if woman else 0.0,
        ),
        lips=Lips(
            _scaled(skin_colour, (draw(0.78, 0.92), draw(0.48, 0.62), draw(0.56, 0.72))),
            opacity=draw(0.65, 0.85),
            shine=draw(0.7, 1.3),
        ),
        brows=Brows(
            brow_colour,
            (
                (0.0135, inner),
                (0.024, (inner + arch) / 2 + 0.0008),
                (0.038, arch),
                (0.050, arch - 0.0018),
                (0.060, outer),
            ),
            half_width=draw(0.0030, 0.0038) if woman else draw(0.0038, 0.0050),
            density=draw(0.85, 1.05),
        ),
        hair=Hair(
            hair_colour,
            (draw(0.010, 0.016), draw(0.016, 0.022)) if woman else (draw(0.004, 0.009), draw(0.010, 0.018)),
            hairline_raised=draw(-0.006, 0.002) if woman else draw(-0.004, 0.002 + 0.012 * years_shown),
            widows_peak=round(max(0.0, draw(-0.004, 0.005)), 4),
            combed="side" if rng.uniform() < 0.5 else "back",
            parting=draw(-0.03, 0.03),
            shine=draw(0.5, 0.9),
            loose=draw(0.4, 0.9),
        ),
        eyes=Eyes(
            inner_iris=iris,
            outer_iris=_scaled(iris, (1.25, 1.2, 1.1)),
            liner_width=draw(0.0011, 0.0018) if woman else draw(0.0008, 0.0011),
            liner=draw(0.7, 1.0) if woman else draw(0.5, 0.7),
            lashes=draw(0.75, 1.0) if woman else draw(0.45, 0.65),
        ),
        clothes=(draw(40, 220), draw(40, 220), draw(40, 220)),
        shape={name: draw(low, high) for name, (low, high) in _SAMPLED_SHAPE.items()},
    )


def resolve_identities(wanted: str, seed: int) -> tuple[Identity, ...]:
    """The identities of a list of names.

    Args:
        wanted: names separated by commas; `random:N` stands for N sampled adults.
        seed: the seed of the sampling.

    Raises:
        LossariumError: a name is unknown or given twice, or N is not a positive number.
    """
    known = named_identities()
    identities: list[Identity] = []
    for word in (part.strip() for part in wanted.split(",")):
        if word in known:
            identities.append(known[word])
        elif word.startswith("random:"):
            count = word.removeprefix("random:")
            if not count.isdecimal() or not 1 <= int(count) <= 1000:
                raise LossariumError(
                    f"{word!r} does not say how many identities to sample: write for example random:3."
                )
            first = 1 + sum(identity.name.startswith("random-") for identity in identities)
            identities += [sample_identity(seed, first + number) for number in range(int(count))]
        else:
            nearest = difflib.get_close_matches(word, known, n=len(known), cutoff=0.0)
            raise LossariumError(
                f"There is no identity {word!r}: the known ones are {', '.join(nearest)}, "
                "and random:N samples N adults."
            )
    names = [identity.name for identity in identities]
    if len(set(names)) < len(names):
        raise LossariumError(f"An identity is given twice in {wanted!r}: name each once.")
    return tuple(identities)
