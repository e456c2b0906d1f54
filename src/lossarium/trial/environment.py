"""The environment that numbers depend on: versions, sources, hardware; and checks that it has not changed."""

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch

import lossarium
from lossarium.errors import LossariumError
from lossarium.training.processes import Processes

SAME_NUMBERS = ("lossarium", "sources", "torch", "numpy", "numba", "instructions", "threads", "device")
"""The entries that must be equal for a trial to continue with the same numbers."""

# The packages whose code computes a trial's numbers, from pictures to scores.
_PACKAGES = ("compute", "facesets", "judging", "losses", "models", "training")
_DIGITS = 16


def environment(processes: Processes | None = None) -> dict[str, str]:
    """Label -> value of the environment, for `trial.toml` and the report."""
    device, count = (processes.device.type, processes.count) if processes else ("cpu", 1)
    return {
        "lossarium": lossarium.__version__,
        "sources": sources_digest(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "numba": version("numba"),
        "pillow": version("pillow"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": device if count == 1 else f"{count} x {device}",
    }


@cache
def sources_digest() -> str:
    """The first hex digits of a SHA-256 over the parts of Lossarium that compute a trial's numbers."""
    return _digest_of(Path(str(files("lossarium"))))


def _digest_of(package: Path) -> str:
    digest = hashlib.sha256()
    for name in _PACKAGES:
        for path in sorted((package / name).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:_DIGITS]


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The differences between two environments that may change the last bits of numbers, one phrase each."""
    different = [key for key in SAME_NUMBERS if there.get(key) != here.get(key)]
    if "lossarium" in different and "sources" in different:
        # Another version has other sources anyway, so only the version is named.
        different.remove("sources")
    return [
        f"{_label(key)}: {there.get(key, 'not recorded')} there, {here.get(key)} now" for key in different
    ]


def check_environment(folder: Path, there: Mapping[str, str], here: Mapping[str, str], remedy: str) -> None:
    """Refuse to continue if numbers could differ from those in the folder's own environment.

    Args:
        folder: The trial's or the comparison's.
        there: The environment that the folder was begun in.
        here: The current environment.
        remedy: What the user can do besides continuing in the old environment.

    Raises:
        LossariumError: they differ; the message names the differences.
    """
    found = differences(there, here)
    if found:
        raise LossariumError(
            f"{folder} was begun in another environment ({'; '.join(found)}), where numbers may differ in "
            f"their last bits; go on with what it was begun with, or {remedy}"
        )


def _label(key: str) -> str:
    return "sources of lossarium" if key == "sources" else key


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"
