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
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.losses.spec import parse
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
        self._past = _past_changes(self._log)
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
        # Changes that could not be logged yet, overridden by new ones.
        changes = self._pending | self._asked_for(settings)
        changed = replace(settings, **changes)
        self._pending = {}
        if changed == settings or not self._remember(Change(step, changes, self._digest)):
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
            self._check(replace(settings, **changes))
        except (LossariumError, ValueError) as error:
            self._tell(f"{self._path} is ignored: {error}")
            return {}
        return changes

    def _remember(self, change: Change) -> bool:
        """Log a change; if that fails, postpone it to the next step and say so once.

        A change that takes effect without being logged would not be repeated when the trial is resumed.
        """
        row = json.dumps(asdict(change)).encode() + b"\n"
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


def _past_changes(log: Path) -> list[Change]:
    """The changes of earlier runs, without an incomplete last line.

    Raises:
        LossariumError: a line is damaged; the message names it.
    """
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
    return Change(step, checked(changes), digest)


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
        raise LossariumError(f"{path} has a mistake ({error}); mend or remove it") from None
    write_whole(path, tomli_w.dumps({**there, **checked(changes)}).encode())
