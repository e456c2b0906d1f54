"""The versions and hardware that produced a trial's numbers."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

import lossarium
from lossarium.training.processes import Processes


def environment(processes: Processes | None = None) -> dict[str, str]:
    """Label -> value of the environment, for `trial.toml` and the report."""
    device, count = (processes.device.type, processes.count) if processes else ("cpu", 1)
    return {
        "lossarium": lossarium.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "pillow": version("pillow"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": device if count == 1 else f"{count} x {device}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"
