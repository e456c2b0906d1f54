"""A full disk at the end of a trial: waiting, saving elsewhere, reading it back."""

import errno
import os
import signal
import tempfile
from pathlib import Path

import pytest

from lossarium import files
from lossarium.errors import LossariumError
from lossarium.training import checkpoints, records, rescue
from lossarium.training.keeping import Keeping
from lossarium.training.signals import Stopped
from tests.training.test_loop import StoppedError, run, timeless


class FullDisk:
    """Refuses checkpoints in a folder."""

    def __init__(self, monkeypatch, folder):
        self.folder = folder
        self.refused = 0
        self.full = True
        self.on_refusal = lambda: None
        monkeypatch.setattr(checkpoints, "write_whole", self._write_whole)

    def _write_whole(self, path, content):
        if self.full and path.is_relative_to(self.folder):
            self.refused += 1
            self.on_refusal()
            raise OSError(errno.ENOSPC, "No space left on device")
        files.write_whole(path, content)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(rescue, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(rescue, "_LONGEST_WAIT", 0.02)


def weights(folder):
    return list(records.read(folder))[-1]["weights"]


def test_a_full_disk_at_the_end_is_waited_for(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    disk = FullDisk(monkeypatch, tmp_path / "full")

    def empty():
        disk.full = disk.refused < 7

    disk.on_refusal = empty
    told = run(tmp_path / "full")
    waiting = [sentence for sentence in told if "step 12 is only in memory" in sentence]
    assert len(waiting) == disk.refused - 3 > 1
    assert "No space left on device" in waiting[0].replace("no space", "No space")
    assert "retrying for 10 minutes; Ctrl-C gives up" in waiting[0]
    assert timeless(tmp_path / "full") == timeless(tmp_path / "whole")


def test_what_cannot_be_saved_goes_to_the_rescue_folder_and_comes_back(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    disk = FullDisk(monkeypatch, tmp_path / "full")
    elsewhere = tmp_path / "elsewhere"
    keeping = Keeping(rescue=elsewhere)
    with pytest.raises(LossariumError) as said:
        run(tmp_path / "full", keeping=keeping)
    assert f"again with --rescue {elsewhere}, which takes it back" in str(said.value)
    (rescued,) = elsewhere.iterdir()
    assert f"step 12 is saved in {rescued}" in str(said.value)
    assert (rescued / "checkpoints" / "step_00000012.safetensors").exists()
    # A disk that is still full takes nothing back and loses nothing.
    before = {path: path.read_bytes() for path in rescued.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(rescue, "write_whole", disk._write_whole)
        with pytest.raises(OSError, match="No space"):
            run(tmp_path / "full", keeping=keeping)
    assert {path: path.read_bytes() for path in rescued.rglob("*") if path.is_file()} == before
    disk.full = False
    told = run(tmp_path / "full", keeping=keeping)
    assert told == [f"step 12 was taken back from {rescued}"]
    assert not rescued.exists()
    assert timeless(tmp_path / "full") == timeless(tmp_path / "whole")


def test_another_trial_of_the_same_name_takes_nothing_back(tmp_path, monkeypatch):
    FullDisk(monkeypatch, tmp_path / "one" / "trial")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    keeping = Keeping(rescue=tmp_path / "elsewhere")
    with pytest.raises(LossariumError, match="is saved in"):
        run(tmp_path / "one" / "trial", keeping=keeping)
    assert run(tmp_path / "two" / "trial", keeping=keeping) == []
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_without_a_rescue_folder_it_ends_up_among_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(rescue, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    FullDisk(monkeypatch, tmp_path / "full")
    with pytest.raises(LossariumError, match=r"step 12 is saved in .*lossarium-rescue-.* free some room"):
        run(tmp_path / "full")
    (found,) = tmp_path.glob("lossarium-rescue-*/full-*/checkpoints/step_00000012.safetensors")
    monkeypatch.undo()
    told = run(tmp_path / "full", keeping=Keeping(rescue=found.parents[2]))
    assert "step 12 was taken back" in told[0]
    assert records.is_finished(tmp_path / "full")


def test_where_nothing_can_be_written_the_system_says_why_and_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(rescue, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    FullDisk(monkeypatch, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "full", keeping=Keeping(rescue=tmp_path / "elsewhere"))
    assert not records.is_finished(tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_given_up(tmp_path, monkeypatch, number):
    disk = FullDisk(monkeypatch, tmp_path)
    monkeypatch.setattr(rescue, "_FIRST_WAIT", 3600.0)
    monkeypatch.setattr(rescue, "_LONGEST_WAIT", 3600.0)
    disk.on_refusal = lambda: os.kill(os.getpid(), number) if disk.refused == 3 else None
    # Tests that a shell script starts in the background ignore SIGINT, and so would the trial.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(Stopped, match="stopped after step 0") as stopped:
            run(tmp_path)
    finally:
        signal.signal(number, before)
    assert stopped.value.number == number


def test_a_trial_that_is_stopped_on_a_full_disk_is_rescued_too(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    disk = FullDisk(monkeypatch, tmp_path / "full")
    keeping = Keeping(rescue=tmp_path / "elsewhere")
    stop = {3: lambda: os.kill(os.getpid(), signal.SIGTERM)}
    # Not an error, although the message says where it is saved: the status is that of the signal.
    with pytest.raises(Stopped, match=r"^stopped; .* step 3 is saved in") as stopped:
        run(tmp_path / "full", keeping=keeping, at=stop)
    assert stopped.value.number == signal.SIGTERM
    disk.full = False
    with pytest.raises(StoppedError):
        run(tmp_path / "full", keeping=keeping, die_after=5)
    told = run(tmp_path / "full", keeping=keeping)
    assert told == []
    assert timeless(tmp_path / "full") == timeless(tmp_path / "whole")


def test_the_last_row_is_waited_for_too(tmp_path, monkeypatch):
    fsync, tries = os.fsync, []

    def refusing(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.name == records.NAME and records.is_finished(path.parent):
            tries.append(path)
            if len(tries) < 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(records.os, "fsync", refusing)
    told = run(tmp_path)
    assert len(tries) == 3
    assert [("the row that says it is finished" in sentence) for sentence in told] == [True, True]
    assert weights(tmp_path)
