"""Every kernel is compiled once per machine, and Ctrl-C while compiling is never lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.compute.test_kernel_cache import check_second_process

COMMAND = [sys.executable, "-m", "lossarium.cli.main"]
LISTENING = """
import sys
from numba.core import event
from lossarium.cli.main import main

class Listener(event.Listener):
    def on_start(self, event):
        print("compiling", flush=True)

    def on_end(self, event):
        pass

event.register("numba:compile", Listener())
sys.exit(main(sys.argv[1:]))
"""
"""The command, which tells when its first kernel is compiled."""


def test_no_later_process_compiles_any_loss_augmentation_or_measure(tmp_path):
    """Every loss with its options: value alone, gradient, weighted, grey, several windows."""
    compiled = check_second_process(tmp_path)
    assert len(compiled) > 60


def interrupt_while_compiling(arguments, environment, seconds):
    """The exit status and standard error of a command that gets SIGINT some time after it began to compile.

    None where it was done before that.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    for line in process.stdout:
        if line.strip() == "compiling":
            break
    time.sleep(seconds)
    finished = process.poll() is not None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    return None if finished else (process.returncode, errors)


COMPARE = (
    *("compare", "demo", "--seeds", "1", "--size", "32", "--steps", "4", "--batch-size", "4"),
    *("--judge-every", "4", "--losses", "mse, ssim(window=3)"),
)
"""The cheapest comparison that compiles kernels."""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT for another process")
@pytest.mark.parametrize("seed", range(8))
def test_ctrl_c_while_kernels_compile_always_ends_a_comparison_with_130_and_loses_nothing(tmp_path, seed):
    out = tmp_path / "comparison"
    arguments = [*COMPARE, "--out", str(out)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    stopped = interrupt_while_compiling(arguments, environment, random.Random(seed).uniform(0, 4))
    if stopped is not None:
        status, errors = stopped
        assert status == 130, errors
        assert "Traceback" not in errors
        assert "ignored" not in errors
    again = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    rows = [path.read_text().splitlines() for path in sorted(out.rglob("metrics.jsonl"))]
    assert len(rows) == 2
    for trial in rows:
        # Each step once, then the scores after the last.
        steps = [json.loads(row)["step"] for row in trial]
        assert steps == [1, 2, 3, 4, *[4] * (len(steps) - 4)]
        assert len(steps) == len(rows[0])


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT for another process")
@pytest.mark.parametrize("seed", range(12))
def test_ctrl_c_while_kernels_compile_always_ends_measure_with_130(tmp_path, seed):
    pictures = tmp_path / "truth.png", tmp_path / "test.png"
    for number, path in enumerate(pictures):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(path)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    arguments = ["measure", *map(str, pictures), "--losses", "mse, gmsd, flip"]
    stopped = interrupt_while_compiling(arguments, environment, random.Random(seed).uniform(0, 4))
    if stopped is not None:
        status, errors = stopped
        assert status == 130, errors
        assert "Traceback" not in errors
        assert "ignored" not in errors


EARLY = """
import sys
from lossarium.cli.entry import main
print("begun", flush=True)
sys.exit(main())
"""
"""The command, which tells when its first line is run; until then Ctrl-C is Python's own."""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT for another process")
def test_ctrl_c_in_the_first_seconds_always_ends_a_comparison_with_130_and_loses_nothing(tmp_path):
    """While modules are imported, pictures read, losses tried and kernels compiled, in one folder."""
    out = tmp_path / "comparison"
    arguments = [*COMPARE, "--out", str(out)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    statuses = []
    for milliseconds in (*range(5, 1000, 50), *range(1000, 5000, 400)):
        process = subprocess.Popen(
            [sys.executable, "-c", EARLY, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        # One that was finished before stays finished.
        assert process.returncode in (0, 130), (milliseconds, errors)
        assert "Traceback" not in errors, milliseconds
        assert "ignored" not in errors, milliseconds
        statuses.append(process.returncode)
    assert statuses[:20] == [130] * 20
    again = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (out / "verdict.json").is_file()
