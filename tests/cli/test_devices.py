"""`--devices 2`: two processes train together and equal a single one."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lossarium.cli.main import main
from lossarium.training import loop
from tests.cli.folders import pair
from tests.cli.test_train import rows, timeless
from tests.losses.kernel_cases import threads

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


SIZES = ("--size", "32", "--batch-size", "4", "--steps", "40", "--judge-every", "40")
FACES = ("train", "demo", *SIZES, *SMOOTH)
SHARES = ((0, 2), (1, 3))
OTHER_SHARES = (((0, 1), (2, 3)), ((0, 3), (1, 2)))


def by_parts(parts):
    """A function that gives a step's batch in parts: the same sums in another order."""

    def parts_of_step(batches, step, _accumulation):
        batch = batches(step)
        return [replace(batch, input=batch.input[:, part], target=batch.target[:, part]) for part in parts]

    return parts_of_step


def trained(out, parts=None):
    """Train here, on one thread; take every batch whole, or by parts."""
    with threads(1), pytest.MonkeyPatch.context() as patch:
        if parts is not None:
            patch.setattr(loop, "parts_of_step", by_parts(parts))
        assert main([*FACES, "--out", str(out)]) == 0
    return out


def numbers(trial):
    """The rows of a trial without times and without the parts of its batches."""
    return [{key: value for key, value in row.items() if key != "batches"} for row in timeless(trial)]


def apart(one, other):
    """The largest differences between two trials: of a weight, of the loss, and of a step's gradient norm."""
    mine, theirs = weights(one), weights(other)
    found = {"weight": max((mine[name] - theirs[name]).abs().max().item() for name in mine)}
    for key in ("loss", "gradient_norm"):
        rows_of_both = zip(rows(one), rows(other), strict=True)
        found[key] = max(abs(row[key] - same[key]) for row, same in rows_of_both if key in row)
    return found


def test_two_processes_equal_one_even_when_killed_and_resumed(tmp_path):
    two, broken, faces = tmp_path / "two", tmp_path / "broken", list(FACES)
    process = started([*faces, "--out", str(two), "--devices", "2"])
    told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    # Only one process prints.
    assert told.count("Trained 40 steps") == 1

    # Each takes every other picture: to the last bit what one process does with one share after the other.
    shares = trained(tmp_path / "shares", SHARES)
    assert numbers(two) == numbers(shares)
    assert all(torch.equal(tensor, weights(shares)[name]) for name, tensor in weights(two).items())
    # One process that takes its batches whole sums the same numbers in another order. How far that leads is
    # measured: batches cut otherwise into two are two more draws of the same rounding errors.
    one = trained(tmp_path / "one")
    spreads = [apart(one, trained(tmp_path / f"cut {place}", cut)) for place, cut in enumerate(OTHER_SHARES)]
    for key, distance in apart(one, two).items():
        assert distance <= 4 * max(spread[key] for spread in spreads)

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


def test_a_comparison_by_two_processes_has_the_trials_and_the_verdict_of_one(tmp_path):
    """To the last bit those of one process that takes one share of each batch after the other."""
    two, shares = tmp_path / "two", tmp_path / "shares"
    sizes = ("--size", "32", "--batch-size", "4", "--steps", "6", "--judge-every", "3")
    compared = [
        "compare",
        "--seeds",
        "1",
        "demo",
        *sizes,
        "--losses",
        "mse, ssim + mae",
        "--optimizer",
        "sgd",
    ]
    process = started([*compared, "--out", str(two), "--devices", "2"])
    told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    # Only one process prints.
    assert told.count("Report:") == 1
    assert (two / "report.html").exists()

    with threads(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "parts_of_step", by_parts(SHARES))
        assert main([*compared, "--out", str(shares)]) == 0
    assert sorted(path.name for path in (two / "trials").iterdir()) == ["mse-seed0", "ssim+mae-seed0"]
    for trial in (two / "trials").iterdir():
        same = shares / "trials" / trial.name
        assert numbers(trial) == numbers(same)
        assert all(torch.equal(tensor, weights(same)[name]) for name, tensor in weights(trial).items())
    assert (two / "verdict.json").read_bytes() == (shares / "verdict.json").read_bytes()

    # Finished trials are not trained again, whatever is added.
    before = {path: path.read_bytes() for path in two.rglob("metrics.jsonl")}
    compared[compared.index("mse, ssim + mae")] += ", mae"
    process = started([*compared, "--out", str(two), "--devices", "2"])
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    assert len(list((two / "trials").iterdir())) == 3
    assert all(path.read_bytes() == content for path, content in before.items())


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
    """Wait until none of these processes runs; zombies count as ended."""
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


def test_a_missing_accelerator_is_refused(tmp_path, capsys):
    assert main(command(tmp_path, tmp_path / "out", "--steps", "2", "--accelerator", "mps")) == 2
    assert "torch finds no mps on this machine" in capsys.readouterr().err
