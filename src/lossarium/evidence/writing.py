"""A verdict as JSON."""

import math
from dataclasses import asdict
from typing import Any

from lossarium.evidence.results import Verdict


def as_json(verdict: Verdict) -> dict[str, Any]:
    """What `json.dumps` takes: pairs as sorted lists, NaN as null.

    `winner` is a name or null, `better` a list of [better, worse].
    """
    table: dict[str, Any] = _plain(asdict(verdict))
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(map(list, value))
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
