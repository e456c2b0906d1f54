"""A child process that must end with its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lossarium.training import parent as ending

WAITING = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
CHILD = f"from lossarium.training.parent import end_with_parent; end_with_parent(); {WAITING}"
PARENT = f"""
import os, subprocess, sys
from lossarium.training.parent import announce_parent
announce_parent()
os.environ["LOCAL_RANK"] = "1"
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=sys.stdout)
child.wait()
"""


def test_a_child_ends_with_a_parent_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 60
        while is_running(child):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                pytest.fail("the child outlives its parent")
            time.sleep(0.02)


def is_running(number):
    """Whether a process is running; zombies are not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("parent", ["", "1", "this process"])
def test_a_process_that_was_not_started_to_share_training_goes_on(monkeypatch, parent):
    # Given explicit ids, since all test workers have to collect the same names.
    monkeypatch.setenv("LOSSARIUM_PARENT", str(os.getpid()) if parent == "this process" else parent)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(ending, "_end", lambda: pytest.fail("it would have ended"))
    ending.end_with_parent()


def test_a_parent_that_was_gone_before_is_noticed(monkeypatch):
    ended = []
    monkeypatch.setenv("LOSSARIUM_PARENT", str(os.getppid() + 1))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(ending, "_end", lambda: ended.append(True))
    monkeypatch.setattr(ending.sys, "platform", "darwin")
    monkeypatch.setattr(ending, "_SECONDS_BETWEEN_LOOKS", 0)
    ending.end_with_parent()
    assert ended
