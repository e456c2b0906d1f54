"""The text files beside a faceset's frames: TOML and JSON tables, of bounded size, from inside its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lossarium.errors import LossariumError
from lossarium.text.json_text import parse_json
from lossarium.text.links import why_outside
from lossarium.text.toml import parse_toml
from lossarium.text.wording import printable_name, reason_of

MAX_TOML_BYTES = 4 * 2**20
MAX_JSON_BYTES = 64 * 2**20


def toml_table(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        LossariumError: it cannot be opened, is not TOML or is too large.
    """
    table: dict[str, Any] = _parsed(path, "TOML", MAX_TOML_BYTES, parse_toml)
    return table


def json_table(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; NaN and Infinity, which are not JSON, are refused.

    Raises:
        LossariumError: it cannot be opened, is not such JSON or is too large.
    """
    table = _parsed(path, "JSON", MAX_JSON_BYTES, parse_json)
    if not isinstance(table, dict):
        raise LossariumError(
            f"{printable_name(path)} has to hold a table by frame names; render or copy the faceset again."
        )
    return table


def refuse_damaged(path: Path, key: str, complaint: str) -> NoReturn:
    """Refuse a table for one of its keys.

    Raises:
        LossariumError: always.
    """
    raise LossariumError(
        f"{printable_name(path)} is damaged: its key {printable_name(key)!r} {complaint}; "
        "render or copy the faceset again."
    )


def _parsed(path: Path, kind: str, limit: int, parse: Callable[[str], Any]) -> Any:
    text = _text(path, limit)
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise LossariumError(
            f"{printable_name(path)} is not {kind} ({printable_name(str(error))}); "
            "render or copy the faceset again."
        ) from error


def _text(path: Path, limit: int) -> str:
    shown = printable_name(path)
    if (reason := why_outside(path, path.parent.resolve())) is not None:
        raise LossariumError(f"{shown} {reason}; put the file itself there.")
    try:
        if not path.is_file():
            raise LossariumError(f"{shown} is not a regular file; render or copy the faceset again.")
        with path.open("rb") as file:
            # At most the file's size: reading up to the limit would allocate a buffer of that size first.
            data = file.read(min(limit, path.stat().st_size) + 1)
    except OSError as error:
        raise LossariumError(f"{shown} cannot be opened: {reason_of(error)}; allow it to be read.") from error
    if len(data) > limit:
        raise LossariumError(
            f"{shown} takes more than {limit // 2**20} MiB, which no faceset needs; render or copy it again."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LossariumError(f"{shown} is not UTF-8 text; render or copy the faceset again.") from error
