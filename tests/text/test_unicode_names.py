"""Names match if they look the same in Unicode; an exact match takes precedence."""

import pytest

from lossarium.errors import LossariumError
from lossarium.text.unicode_names import partners

NFC, NFD, MIXED = "\u00e9t\u00e9", "e\u0301te\u0301", "\u00e9te\u0301"


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (["a", "b"], ["b", "c"], {"b": "b"}),
        ([NFC], [NFD], {NFC: NFD}),
        ([NFD], [NFC], {NFD: NFC}),
        ([NFC, NFD], [NFC, NFD], {NFC: NFC, NFD: NFD}),
        ([NFC], [NFC, NFD], {NFC: NFC}),
        ([NFC, NFD], [NFC], {NFC: NFC}),
        ([NFC, NFD], [NFC, MIXED], {NFC: NFC, NFD: MIXED}),
        ([NFC, NFD], [], {}),
    ],
)
def test_partners(names: list[str], others: list[str], expected: dict[str, str]) -> None:
    assert partners(names, others) == expected


@pytest.mark.parametrize(
    ("names", "others"),
    [([NFC, NFD], [MIXED]), ([MIXED], [NFC, NFD]), ([NFC, NFD, MIXED], ["e\u0301t\u00e9"])],
)
def test_ambiguous_names_are_both_named(names: list[str], others: list[str]) -> None:
    with pytest.raises(LossariumError) as caught:
        partners(names, others)
    assert ascii(NFC) in str(caught.value)
    assert ascii(NFD) in str(caught.value)
