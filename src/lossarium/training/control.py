"""Changing a trial's settings while it runs: `control.toml` in its folder, read before every step.

A change is logged in `control.jsonl` with its step before it takes effect, so that a trial resumed after a
crash makes the same changes at the same steps. A mistake in the file is reported once and changes nothing.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.losses.spec import names_in, parse
from lossarium.own_code import import_own, is_own
from lossarium.own_sources import changed_sources, source_digests
from lossarium.text.toml import parse_toml
from lossarium.training.configuration import RegionWeights
from lossarium.training.options import schedules

NAME, _HISTORY = "control.toml", "control.jsonl"
_LARGEST = 1 << 16

TEMPLATE = """\
# Edited while the trial runs, this takes effect at the next step. `lossarium set` writes it, too.
# learning_rate = 1e-5
# loss = "ssim + 0.1*lpips"
# schedule = "cosine(warmup=500)"
# eye_multiplier = 3
# mouth_multiplier = 2
# mask_loss = true
"""


@dataclass(frozen=True)
class Settings:
    """The settings that can be changed by hand."""

    learning_rate: float
    """The rate that the schedule starts from."""
    loss: str
    """The spec."""
    schedule: str
    """As `schedules` writes it."""
    mask_loss: bool = False
    """These three as in `region_weights.RegionWeights`."""
    eye_multiplier: float = 1.0
    mouth_multiplier: float = 1.0

    @property
    def region_weights(self) -> RegionWeights:
        """The weights of regions of the pictures."""
        return RegionWeights(self.mask_loss, self.eye_multiplier, self.mouth_multiplier)


@dataclass(frozen=True)
class Change:
    """A requested change, and the digest of the file that requested it."""

    step: int
    """Before which it takes effect."""
    changes: Mapping[str, Any]
    digest: str
    own_code: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The sources of a user's own loss that it sets, as `own_sources.source_digests` gives them, by name."""


class _OwnLossError(Exception):
    """A user's own loss cannot be imported any more."""


class Control:
    """The changes made to one trial, past and to come."""

    def __init__(
        self,
        folder: Path,
        tell: Callable[[str], None],
        check: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        """Read the changes of earlier runs.

        Args:
            folder: The trial's.
            tell: Called with a sentence if a change is ignored.
            check: Raises a LossariumError for settings that this trial cannot have.
        """
        self._path, self._log = folder / NAME, folder / _HISTORY
        self._tell, self._check = tell, check
        self._past = past_changes(folder)
        # Sources of own losses as they were when this process first used them.
        self._imported: dict[str, Mapping[str, str]] = {}
        self._seen: tuple[int, int] | None = None
        self._digest = self._past[-1].digest if self._past else ""
        self._pending: dict[str, Any] = {}
        self._said_why_pending = False

    def before(self, step: int, settings: Settings) -> Settings:
        """The settings from this step on: those given, or changed."""
        past = [change for change in self._past if change.step == step]
        if past:
            for change in past:
                settings = replace(settings, **change.changes)
            return settings
        if self._past and step < self._past[-1].step:
            return settings
        self._read_sources(settings.loss)
        # Changes that could not be logged yet, overridden by new ones.
        changes = self._pending | self._asked_for(settings)
        changed = replace(settings, **changes)
        self._pending = {}
        code = {name: self._imported[name] for name in _own_losses(str(changes.get("loss", "")))}
        if changed == settings or not self._remember(Change(step, changes, self._digest, code)):
            return settings
        return changed

    def _asked_for(self, settings: Settings) -> dict[str, Any]:
        """The settings in the file, if it has changed; empty if it does not exist or has a mistake."""
        try:
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_size) == self._seen:
                return {}
            self._seen = status.st_mtime_ns, status.st_size
            if status.st_size > _LARGEST:
                raise LossariumError(f"{NAME} is too large")
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except (OSError, LossariumError) as error:
            self._tell(f"{self._path} is ignored: {error}")
            return {}
        digest = hashlib.sha256(content).hexdigest()
        if digest == self._digest:
            return {}
        self._digest = digest
        try:
            changes = checked(parse_toml(content.decode("utf-8")))
            self._check_sources(changes.get("loss", ""))
            self._check(replace(settings, **changes))
        except (LossariumError, ValueError) as error:
            self._tell(f"{self._path} is ignored: {error}")
            return {}
        return changes

    def _read_sources(self, loss: str) -> None:
        for name in _own_losses(loss):
            if name not in self._imported:
                self._imported[name] = source_digests(name, "loss")

    def _check_sources(self, loss: str) -> None:
        """Refuse an own loss whose code is not what this process runs."""
        self._read_sources(loss)
        for name in _own_losses(loss):
            edited = changed_sources(self._imported[name], name, "loss")
            if edited:
                raise LossariumError(
                    f"{', '.join(edited)} (the loss {name}) changed since this process read it, and only a "
                    "new process would use it"
                )

    def _remember(self, change: Change) -> bool:
        """Log a change; if that fails, postpone it to the next step and say so once.

        A change that takes effect without being logged would not be repeated when the trial is resumed.
        """
        table = asdict(change)
        if not change.own_code:
            del table["own_code"]
        row = json.dumps(table).encode() + b"\n"
        try:
            _append(self._log, row)
        except OSError as error:
            self._pending = dict(change.changes)
            if not self._said_why_pending:
                self._said_why_pending = True
                self._tell(
                    f"{self._log} cannot be written ({error.strerror or error}), so that the change by "
                    f"{NAME} waits; training goes on, and it takes effect as soon as it is logged"
                )
            return False
        self._said_why_pending = False
        self._past.append(change)
        return True


def _append(path: Path, row: bytes) -> None:
    """Add a row to a file, whole or not at all.

    Raises:
        OSError: the disk is full or refuses; the file is as it was.
    """
    # Unbuffered: closing the file would write a buffer again after an error.
    with path.open("ab", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        try:
            if file.write(row) != len(row):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(length)
            raise


def past_changes(folder: Path) -> list[Change]:
    """The changes of a trial's earlier runs, without an incomplete last line.

    Raises:
        LossariumError: a line is damaged, or sets an own loss that cannot be imported; the message names it.
    """
    log = folder / _HISTORY
    if not log.exists():
        return []
    *lines, rest = log.read_bytes().split(b"\n")
    if rest:
        with log.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines))
    changes = []
    for number, line in enumerate(lines, start=1):
        try:
            changes.append(_change(json.loads(line)))
        except RecursionError:
            raise _damaged(log, number, "it is nested too deeply") from None
        except ValueError:
            raise _damaged(log, number, "it is not JSON") from None
        except _OwnLossError as error:
            raise LossariumError(f"{log} sets an own loss in line {number}, and {error}") from None
        except LossariumError as error:
            raise _damaged(log, number, str(error)) from None
    return changes


def _change(row: object) -> Change:
    """Read a change from a row of the log."""
    if not isinstance(row, dict):
        raise LossariumError("it is not a JSON object")
    step, changes, digest = row.get("step"), row.get("changes"), row.get("digest")
    if type(step) is not int or not isinstance(changes, dict) or not isinstance(digest, str):
        raise LossariumError("its step, changes or digest are missing or of another kind")
    code = row.get("own_code", {})
    if not isinstance(code, dict):
        raise LossariumError("its own_code is of another kind")
    for name in _own_losses(str(changes.get("loss", ""))):
        try:
            import_own(name, "loss")
        except LossariumError as error:
            raise _OwnLossError(str(error)) from None
    return Change(step, checked(changes), digest, code)


def _own_losses(spec: str) -> list[str]:
    """The users' own losses that a spec names."""
    return [name for name in names_in(spec) if is_own(name)]


def _damaged(log: Path, number: int, what: str) -> LossariumError:
    return LossariumError(
        f"{log} is damaged in line {number} ({what}); put back a copy of it, or remove it to go on without "
        "past changes"
    )


def checked(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings that a person wrote, and convert each to its type.

    Raises:
        LossariumError: a setting is unknown, or its value is invalid.
    """
    return {name: _checked(name, value) for name, value in table.items()}


def _checked(name: str, value: object) -> object:
    known = [field.name for field in fields(Settings)]
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
        raise LossariumError(f"there is no setting {name!r}; {hint}")
    if name == "loss":
        if not isinstance(value, str):
            raise LossariumError(f'loss must be a text such as "ssim + mae", not {value!r}')
        losses.get(value)
        return str(parse(value))
    if name == "schedule":
        if not isinstance(value, str):
            raise LossariumError(f'schedule must be a text such as "cosine(warmup=100)", not {value!r}')
        return str(schedules.parse(value))
    if name == "mask_loss":
        if not isinstance(value, bool):
            raise LossariumError(f"mask_loss must be true or false, not {value!r}")
        return value
    # float() of a huge whole number overflows.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise LossariumError(f"{name} must be a positive number, not {value!r:.40}")
    return float(value)


def write_control(folder: Path, changes: Mapping[str, Any]) -> None:
    """Add changes to `control.toml`.

    Raises:
        LossariumError: a change is invalid, or the file has a mistake.
    """
    path = folder / NAME
    try:
        there = parse_toml(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise LossariumError(f"{path} has a mistake ({error}); fix or remove it") from None
    write_whole(path, tomli_w.dumps({**there, **checked(changes)}).encode())
