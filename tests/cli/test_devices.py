"""`--devices 2`: two processes that train together, as one would."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lossarium.cli.main import main
from tests.cli.folders import pair
from tests.cli.test_train import rows, timeless

# A loss and an optimiser that do not magnify the last bits in which sums over half a batch differ.
SMOOTH = ("--loss", "mse", "--optimizer", "sgd", "--learning-rate", "0.05")


def command(parent, out, *options):
    folders = pair(parent) if not (parent / "ada").exists() else (parent / "ada", parent / "ben")
    sizes = ("--size", "32", "--batch-size", "4", "--judge-every", "10", "--preview-every", "0")
    return ["train", *map(str, folders), *sizes, "--out", str(out), *options]


def started(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "lossarium.cli.main", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(trial):
    (path,) = (trial / "checkpoints").glob("step_*.safetensors")
    return {name: tensor for name, tensor in load_file(path).items() if name.startswith("model.")}


def test_two_processes_reach_the_weights_of_one_whatever_happens_to_them(tmp_path):
    one, two, broken = tmp_path / "one", tmp_path / "two", tmp_path / "broken"
    faces = (
        "train",
        "demo",
        "--size",
        "32",
        "--batch-size",
        "4",
        "--steps",
        "40",
        "--judge-every",
        "40",
        *SMOOTH,
    )
    assert main([*faces, "--out", str(one)]) == 0

    process = started([*faces, "--out", str(two), "--devices", "2"])
    told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    # One of them speaks.
    assert told.count("Trained 40 steps") == 1
    alone, together = weights(one), weights(two)
    assert max((alone[name] - together[name]).abs().max().item() for name in alone) < 1e-5
    for row, same in zip(rows(one), rows(two), strict=True):
        if "loss" in row:
            assert same["loss"] == pytest.approx(row["loss"], rel=1e-5)
            assert same["gradient_norm"] == pytest.approx(row["gradient_norm"], rel=1e-3)

    again = [*faces, "--out", str(broken), "--devices", "2", "--keep-every", "4"]
    for number, status, steps in ((signal.SIGTERM, 143, 4), (signal.SIGKILL, -signal.SIGKILL, 16)):
        process = started(again)
        wait_for(broken / "snapshots" / f"step_{steps:08}.safetensors", process)
        children = children_of(process.pid)
        assert len(children) == 1
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
        assert process.returncode == status
        assert number == signal.SIGKILL or told.count("stopped after step") == 1
        wait_until_ended(children)
    process = started(again)
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert timeless(two) == timeless(broken)


def children_of(parent):
    """The processes that a process started, by /proc."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            number, _, rest = status.read_text().partition(" ")
            if int(rest.rpartition(") ")[2].split()[1]) == parent:
                found.add(int(number))
    return found


def wait_until_ended(numbers):
    """Until none of these processes runs; one that nobody waited for has ended, too."""
    deadline = time.monotonic() + 60
    while any(is_running(number) for number in numbers):
        assert time.monotonic() < deadline, f"{numbers} outlive their parent"
        time.sleep(0.05)


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_for(path, process):
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    process = started(command(tmp_path, tmp_path / "out", "--steps", "2", "--devices", "3"))
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "a batch of 4 pictures of each identity cannot be shared by 3 processes" in complaint
    assert "Traceback" not in complaint


def test_an_accelerator_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(command(tmp_path, tmp_path / "out", "--steps", "2", "--accelerator", "mps")) == 2
    assert "torch finds no mps on this machine" in capsys.readouterr().err
