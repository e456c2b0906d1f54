"""Kernels are compiled once, said to be when it takes long, and never stale."""

import subprocess
import sys
import textwrap

from lossarium.compute import compiling


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, **environment},
    )


MEASURE = """
    import torch
    from numba.core.ccallback import CFunc
    from lossarium import losses
    from lossarium.losses.pixel import norms_cpu
    native = []
    uncached = CFunc._compile_uncached
    CFunc._compile_uncached = lambda self: native.append(self) or uncached(self)
    pictures = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    losses.mse(*pictures), losses.linf(*pictures)
    print(len(native), sum(norms_cpu._largest.stats.cache_misses.values()))
"""
"""How many kernels of both kinds had to be compiled: one and one, or none."""


def test_the_second_process_finds_the_kernels_on_disk(tmp_path):
    assert run(MEASURE, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["1", "1"]
    assert run(MEASURE, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["0", "0"]


def test_other_sources_are_compiled_anew(tmp_path):
    assert run(MEASURE, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["1", "1"]
    changed = 'import lossarium.compute.compiling as c\nc._sources_digest = lambda: "other"\n'
    again = run(changed + textwrap.dedent(MEASURE), NUMBA_CACHE_DIR=str(tmp_path))
    assert again.stdout.split() == ["1", "1"]


BITS = """
    import hashlib, torch
    from lossarium import losses
    input, target = (torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    for name in ("ssim", "gmsd"):
        pictures = input.clone().requires_grad_()
        losses.info(name).function(pictures, target).backward()
        print(hashlib.sha256(pictures.grad.numpy().tobytes()).hexdigest())
"""


def test_the_process_that_compiles_gets_the_bits_of_all_later_ones(tmp_path):
    first, second = (run(BITS, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() for _ in range(2))
    assert first == second
    assert len(set(first)) == 2


def test_a_long_wait_is_announced_once(capsys, monkeypatch):
    def event(module: str):
        function = type("Function", (), {"__module__": module})
        return type("Event", (), {"data": {"dispatcher": type("Dispatcher", (), {"py_func": function})}})

    monkeypatch.setattr(compiling, "_PATIENCE", 0.0)
    announcement = compiling._Announcement()
    ours = event("lossarium.losses.structure.windows_cpu")
    for _ in range(2):
        announcement.on_start(event("somebody.elses"))
        announcement.on_start(ours)
        announcement.timer.join(10)
        announcement.on_end(ours)
        announcement.on_end(event("somebody.elses"))
    assert capsys.readouterr().err.count("compiling its kernels") == 1


def test_asking_for_help_imports_no_compiler():
    loaded = run("import sys, lossarium.losses; print('numba' in sys.modules)").stdout
    assert loaded.strip() == "False"
