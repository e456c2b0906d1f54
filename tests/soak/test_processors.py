"""Tests that compare floating-point numbers, run as other processors would run them.

torch, Numba, oneDNN and the BLAS choose their instructions by the processor; environment variables have them
choose fewer. Without AVX2 there is no fused multiply-add either, so that every product is rounded.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PROCESSORS = {
    "without AVX": {
        "ATEN_CPU_CAPABILITY": "default",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Prescott",
        "MKL_CBWR": "COMPATIBLE",
    },
    "with AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_CBWR": "AVX2",
    },
}
"""What torch, Numba, oneDNN, numpy's OpenBLAS and torch's MKL are told of the processor."""
TESTS = [
    "cli/test_devices.py",
    "cli/test_measure.py",
    "compute/test_threads.py",
    "facesets/batches",
    "facesets/formats/test_alignment.py",
    "facesets/test_colour.py",
    "judging",
    "losses",
    "models/test_architectures.py",
    "models/test_blocks.py",
    "models/test_compact.py",
    "swapping/test_colour_transfer.py",
    "synthesis/test_background.py",
    "training/options/test_clipping.py",
    "training/options/test_schedules.py",
    "training/test_convergence.py",
    "training/test_range_test.py",
    "training/test_rate_finder.py",
    "training/test_region_weights.py",
]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have other names")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_numbers_agree_on_other_processors(processor, tmp_path):
    if processor == "with AVX2" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this processor has no AVX2 itself")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= PROCESSORS[processor]
    environment |= {"NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "OMP_NUM_THREADS": "1"}
    options = ("-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"tests/{name}" for name in TESTS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:]
