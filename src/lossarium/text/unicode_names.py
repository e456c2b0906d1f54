"""Names that look the same: accented letters are one character (NFC), or a letter and a mark (NFD, Macs)."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

from lossarium.errors import LossariumError


def same_form(name: str) -> str:
    """A name in Unicode's NFC, equal for all names that look the same."""
    return unicodedata.normalize("NFC", name)


def partners(names: Iterable[str], others: Collection[str]) -> Mapping[str, str]:
    """For each name the one of the others that equals it: exactly, or else in its Unicode form.

    An exact match goes first, and what has one is no partner of another name.

    Returns:
        Names to others; names without a partner are left out.

    Raises:
        LossariumError: two names, or two of the others, could be meant.

    Example:
        >>> partners(["\\u00e9", "a"], ["e\\u0301", "b"]) == {"\\u00e9": "e\\u0301"}
        True
    """
    there = {*others}
    found = {name: name for name in names if name in there}
    free = _by_form(name for name in others if name not in found)
    for form, alike in _by_form(name for name in names if name not in found).items():
        if form in free:
            for several in (alike, free[form]):
                if len(several) > 1:
                    refuse_alike(*several[:2])
            found[alike[0]] = free[form][0]
    return found


def refuse_alike(one: str, other: str) -> NoReturn:
    """Refuse two names of which either could be meant.

    Raises:
        LossariumError: always.
    """
    raise LossariumError(
        f"{one!a} and {other!a} look the same and differ only in how their accents are stored, "
        "so it is open which of them is meant; rename or remove one of them"
    )


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(same_form(name), []).append(name)
    return forms
