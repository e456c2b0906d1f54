"""Compiling: once, no more than needed, with the same results in later processes; --help needs none."""

import gc
import subprocess
import sys
import textwrap

import pytest

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
    assert capsys.readouterr().err.count("compiling kernels") == 1


def test_asking_for_help_imports_no_compiler():
    loaded = run("import sys, lossarium.losses; print('numba' in sys.modules)").stdout
    assert loaded.strip() == "False"


@pytest.mark.parametrize("collects", [True, False])
def test_after_compiling_the_garbage_collector_is_as_it_was(collects):
    before = gc.isenabled()
    kernel = compiling.compiled(lambda x: (x + 1, collects)[0])
    try:
        gc.enable() if collects else gc.disable()
        assert kernel(1) == 2
        assert gc.isenabled() == collects
    finally:
        gc.enable() if before else gc.disable()
