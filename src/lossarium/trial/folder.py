"""A comparison's folder: its settings, its trials' folders, and the lock on it.

OUT/comparison.toml    settings, data and environment
OUT/trials/NAME/       trial.toml, metrics.jsonl, checkpoints/, previews/
OUT/verdict.json       the verdict with every vote
OUT/report.html  the report for people
"""

import hashlib
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.text.toml import parse_toml
from lossarium.text.wording import printable_name
from lossarium.training.configuration import Trial
from lossarium.training.folder_lock import locked

SETTINGS = "comparison.toml"
TRIAL = "trial.toml"
RECORDED = ("environment", "own_code", "continued", "homes")
"""Tables of these files that are not settings; each is checked separately."""
_LONGEST_NAME = 80
_LARGEST_TOML = 1 << 20


@dataclass(frozen=True)
class Change:
    """A setting that differs from what a folder was made with."""

    key: str
    """With its table, such as "recipe.steps"."""
    old: Any
    new: Any

    def __str__(self) -> str:
        name = self.key.rpartition(".")[2].replace("_", " ")
        return f"{name}: {_shown(self.old)} there, {_shown(self.new)} now"


def trial_folder(out: Path, trial: Trial) -> Path:
    """The folder of a trial of this comparison."""
    return out / "trials" / trial_name(trial.loss, trial.seed)


def trial_name(loss: str, seed: int) -> str:
    """The folder name of a trial: its loss spec without characters that file systems refuse, and its seed."""
    name = re.sub(r"[^A-Za-z0-9.+=_-]+", "_", loss.replace(" ", "").replace("*", "x")).strip("_")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(loss.encode()).hexdigest()[:8]}"
    return f"{name}-seed{seed}"


def refuse_folder_with(out: Path, table: str) -> None:
    """Refuse to put a trial into the folder of a comparison, or a comparison into that of a trial.

    Args:
        out: The output folder; need not exist.
        table: The file that identifies a folder of the other kind, `SETTINGS` or `TRIAL`.

    Raises:
        LossariumError: the file exists.
    """
    if (out / table).exists():
        kind = "comparison" if table == SETTINGS else "trial"
        raise LossariumError(
            f"{printable_name(out)} is the folder of a {kind}; choose another one with --out"
        )


@contextmanager
def locked_output(out: Path, needed_bytes: int) -> Iterator[None]:
    """Create the folder and lock it against other processes.

    Raises:
        LossariumError: the folder cannot be created or written, has too little space, or another process
            works in it.
    """
    check_room(out, needed_bytes)
    with locked(
        out,
        busy=f"another process is working in {out}; wait for it or choose another --out",
        unwritable=f"cannot write to the output folder {out}: {{reason}}; choose another one with --out",
    ):
        yield


def check_room(out: Path, needed_bytes: int) -> None:
    """Refuse a folder on a disk that is too full for what will be written.

    Raises:
        LossariumError: there is too little room.
    """
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise LossariumError(
            f"the output folder {out} has room for {free / 1e6:.0f} MB, and about "
            f"{needed_bytes / 1e6:.0f} MB are needed; free some space or choose another place with --out"
        )


def write_or_check(
    path: Path,
    table: Mapping[str, Any],
    *,
    may_change: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Change]:
    """Write a table to a TOML file, or compare it with the existing file.

    Records that are not settings (`RECORDED`) may differ.

    Args:
        path: The file's.
        table: The wanted content.
        may_change: Keys that may differ, such as "recipe.steps"; the caller decides what to do then.
        tell: Called with a sentence if the file was damaged and is restored from its copy.

    Returns:
        The keys that do differ, with their old and new values.

    Raises:
        LossariumError: the file is damaged or differs; every difference is named.
    """
    if not path.exists():
        write_toml(path, table)
        return {}
    here = tomllib.loads(tomli_w.dumps(dict(table)))
    changes, refused = _compared(read_toml(path), here, may_change)
    if refused and (copy := _parsed(_copied(path))) is not None:
        changes_of_copy, refused_of_copy = _compared(copy, here, may_change)
        if not refused_of_copy:
            _put_back(path, tell)
            return changes_of_copy
    if not refused and not _copy_of(path).exists():
        # Earlier versions wrote no copy. A folder that cannot be written goes on without it.
        with suppress(OSError):
            write_whole(_copy_of(path), path.read_bytes())
    if refused:
        raise LossariumError(
            f"{path.parent} was made with other settings ({'; '.join(refused)}); "
            "repeat those, or choose another folder with --out"
        )
    return changes


def write_toml(path: Path, table: Mapping[str, Any]) -> None:
    """Write one of our TOML files atomically, and a hidden copy in case it is damaged later."""
    content = tomli_w.dumps(dict(table)).encode()
    write_whole(path, content)
    write_whole(_copy_of(path), content)


def restore_toml(path: Path, tell: Callable[[str], None]) -> None:
    """Restore one of our TOML files if it is missing or damaged and its copy is intact."""
    if _bytes(path) != toml_bytes(path):
        _put_back(path, tell)


def read_toml(path: Path, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML file that Lossarium wrote, or its copy if it is damaged.

    Args:
        path: The file's.
        needs: Keys that it must have.

    Raises:
        LossariumError: it is damaged, and so is the copy.
    """
    try:
        content = toml_bytes(path)
        if content is None:
            raise ValueError("it is missing or too large")
        table = parse_toml(content.decode("utf-8"))
        missing = [key for key in needs if key not in table]
        if missing:
            raise ValueError(f"it has no {missing[0]}")
    except ValueError as error:
        raise LossariumError(
            f"{path} is damaged: {error}; put back a copy of it, or move {path.parent} elsewhere to begin "
            "again; its checkpoints are not affected"
        ) from None
    return table


def toml_bytes(path: Path) -> bytes | None:
    """The content of one of our TOML files; its copy's if it is cut off or not TOML; None if there is
    neither."""
    content, copy = _bytes(path), _copied(path)
    if copy is None or _parsed(copy) is None:
        return content
    if content is None or _parsed(content) is None:
        return copy
    cut_off = len(content) < len(copy) and copy.startswith(content)
    return copy if cut_off else content


def _copy_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.copy")


def _bytes(path: Path) -> bytes | None:
    """A file's bytes; None if it is missing, not a file or too large to be ours."""
    if not path.is_file() or path.stat().st_size > _LARGEST_TOML:
        return None
    return path.read_bytes()


def _copied(path: Path) -> bytes | None:
    """The bytes of a file's copy; None if there is none. Links are ignored: we write none, and they may lead
    anywhere."""
    copy = _copy_of(path)
    return None if copy.is_symlink() else _bytes(copy)


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    try:
        return None if content is None else parse_toml(content.decode("utf-8"))
    except ValueError:
        return None


def _put_back(path: Path, tell: Callable[[str], None]) -> None:
    write_whole(path, _copy_of(path).read_bytes())
    tell(f"{path} was damaged; it was put back from its copy")


def _compared(
    there: Mapping[str, Any], here: Mapping[str, Any], may_change: Sequence[str]
) -> tuple[dict[str, Change], list[str]]:
    """The differences, and those of them that are not allowed, as text."""
    changes = {change.key: change for change in _changes(_settings(there), _settings(here))}
    return changes, [str(change) for key, change in changes.items() if key not in may_change]


def _settings(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in RECORDED}


def _changes(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> Iterator[Change]:
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{within}{key}.")
        elif old != new:
            yield Change(f"{within}{key}", old, new)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
