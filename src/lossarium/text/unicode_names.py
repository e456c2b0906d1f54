"""Names that look the same: accented letters stored as one character (NFC), or as letter and mark (NFD)."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

from lossarium.errors import LossariumError


def same_form(name: str) -> str:
    """A name in Unicode's NFC, equal for all names that look the same."""
    return unicodedata.normalize("NFC", name)


def partners(names: Iterable[str], others: Collection[str]) -> Mapping[str, str]:
    """Match each name with the equal one of the others: exactly, or else by its NFC form.

    Exact matches come first, and a name that has one does not match any other.

    Returns:
        Name -> its match; names without one are left out.

    Raises:
        LossariumError: two of the names, or two of the others, have the same NFC form and no exact match.

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
    """Refuse two names that look the same.

    Raises:
        LossariumError: always.
    """
    raise LossariumError(
        f"{one!a} and {other!a} look the same and differ only in how their accents are stored, "
        "so either could be meant; rename or remove one of them"
    )


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(same_form(name), []).append(name)
    return forms
