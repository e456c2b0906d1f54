"""Campaigns against running trials: killed at random moments, out of disk, with their files changed.

Every one ends with the rows and weights of an undisturbed trial. Takes minutes on two cores.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from lossarium.errors import LossariumError
from lossarium.training import records
from lossarium.training.checkpoints import newest_checkpoints, read_checkpoint
from tests.cli.folders import pair

SIZES = ("--size", "32", "--batch-size", "2")
TRAIN = ("--steps", "120", "--loss", "mse", "--judge-every", "20", "--keep-every", "50", *SIZES)
COMPARE = ("--steps", "60", "--losses", "mse,mae", *SIZES)
LONGEST_WAIT = 240


@pytest.fixture(scope="module")
def chance():
    """A new random seed every time; a failure shows it."""
    seed = int(os.environ.get("SOAK_SEED", time.time_ns() % 2**32))
    print(f"SOAK_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [str(folder) for folder in pair(tmp_path_factory.mktemp("faces"))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, folders):
    """An undisturbed trial."""
    out = tmp_path_factory.mktemp("whole") / "trial"
    finish(train(folders, out))
    return out


def train(folders, out, *options):
    return ["train", *folders, *TRAIN, "--out", str(out), *options]


def started(command, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lossarium", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(command):
    """Run a command to its end; returns its output."""
    process = started(command)
    said = process.communicate(timeout=LONGEST_WAIT)[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said
    return said


def wait_until(condition, process):
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def killed(command, trials, after):
    """Run a command and kill it so many seconds after it writes rows; whether it was still running."""
    before = [length(trial) for trial in trials()]
    process = started(command)
    wait_until(lambda: [length(trial) for trial in trials()] != before, process)
    time.sleep(after)
    process.kill()
    process.communicate()
    for trial in trials():
        assert list(records.damage(trial)) == []
    return process.returncode == -signal.SIGKILL


def length(trial):
    path = trial / records.NAME
    return path.stat().st_size if path.exists() else 0


def timeless(trial):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in records.read(trial)]


def assert_alike(trial, whole, *, without=()):
    """Rows, weights and the names of all files, but for some folders, are those of the other trial."""
    assert timeless(trial) == timeless(whole)
    names = [
        sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.relative_to(folder).parts[0] not in without
        )
        for folder in (trial, whole)
    ]
    assert names[0] == names[1]
    (one,), (other,) = newest_checkpoints(trial), newest_checkpoints(whole)
    tensors, expected = read_checkpoint(one)[1], read_checkpoint(other)[1]
    assert tensors.keys() == expected.keys()
    assert all(tensors[name].equal(expected[name]) for name in tensors)


def test_a_trial_that_is_killed_again_and_again_ends_as_if_it_was_not(tmp_path, folders, whole, chance):
    out = tmp_path / "trial"
    kills = sum(killed(train(folders, out), lambda: [out], chance.uniform(0, 0.6)) for _ in range(5))
    finish(train(folders, out))
    assert kills > 0
    assert_alike(out, whole)


def test_a_comparison_that_is_killed_again_and_again_ends_as_if_it_was_not(tmp_path, folders, chance):
    outs = [tmp_path / name for name in ("whole", "broken")]
    commands = [["compare", "--seeds", "1", *folders, *COMPARE, "--out", str(out)] for out in outs]
    finish(commands[0])

    def trials():
        return sorted(path for path in (outs[1] / "trials").glob("*") if path.is_dir())

    kills = sum(killed(commands[1], trials, chance.uniform(0, 1.2)) for _ in range(3))
    finish(commands[1])
    assert kills > 0
    assert [trial.name for trial in trials()] == ["mae-seed0", "mse-seed0"]
    for trial in trials():
        assert_alike(trial, outs[0] / "trials" / trial.name)
    assert (outs[1] / "verdict.json").read_bytes() == (outs[0] / "verdict.json").read_bytes()


def limited():
    """No file of this process may be larger than rows are: a checkpoint is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))


def test_a_trial_that_cannot_write_its_checkpoints_says_so_and_can_be_stopped(tmp_path, folders, whole):
    out = tmp_path / "trial"
    process = started(train(folders, out), preexec_fn=limited)
    said = []
    for line in process.stderr:
        said.append(line)
        if "retrying for" in line:
            process.terminate()
    process.wait(timeout=LONGEST_WAIT)
    process.stderr.close()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert any("no checkpoint could be written after step" in line for line in said)
    assert newest_checkpoints(out) == []
    finish(train(folders, out))
    assert_alike(out, whole)


def _mount(where):
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", where], check=False).returncode == 0
    )


def _unmount(where):
    return subprocess.run(["umount", "-l", where], check=False).returncode == 0


@contextmanager
def disk(where):
    """A disk of its own; where that is not allowed, a folder whose files cannot grow, by a limit."""
    where.mkdir()
    mounted = os.geteuid() == 0 and _mount(where)
    try:
        yield mounted
    finally:
        if mounted:
            _unmount(where)


def fill(where):
    """Fill the disk."""
    with (where / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 16))
        except OSError:
            return


def test_a_disk_that_is_full_to_the_end_costs_nothing_with_a_rescue_folder(tmp_path, folders, whole):
    elsewhere = tmp_path / "elsewhere"
    with disk(tmp_path / "disk") as mounted:
        if not mounted:
            # tests/training/test_rescue.py tests the same without a disk.
            elsewhere.mkdir()
            return
        out = tmp_path / "disk" / "trial"
        command = train(folders, out, "--rescue", str(elsewhere))
        process = started(command)
        wait_until(lambda: newest_checkpoints(out), process)
        fill(tmp_path / "disk")
        said = process.communicate(timeout=LONGEST_WAIT)[1]
        assert process.returncode == 2, said
        assert "step 120 is saved in" in said
        (tmp_path / "disk" / "ballast").unlink()
        assert "step 120 was taken back from" in finish(command)
        # Checkpoints that --keep-every asks for were not written while the disk was full.
        assert_alike(out, whole, without=("snapshots",))
    assert list(elsewhere.iterdir()) == []


def test_every_changed_digit_and_every_lost_row_is_named(tmp_path, whole, chance):
    content = (whole / records.NAME).read_bytes()
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in chance.sample(digits, 150):
        changed = bytearray(content)
        changed[place] = chance.choice([digit for digit in b"0123456789" if digit != content[place]])
        assert named(tmp_path, bytes(changed)) == content[:place].count(b"\n") + 1
    lines = content.splitlines(keepends=True)
    for lost in chance.sample(range(len(lines) - 1), 50):
        assert named(tmp_path, b"".join(lines[:lost] + lines[lost + 1 :])) == lost + 1


def named(folder, content):
    """The first line that is reported as damaged."""
    (folder / records.NAME).write_bytes(content)
    with pytest.raises(LossariumError, match="is damaged in line"):
        list(records.read(folder))
    return next(records.damage(folder)).line
