"""Files are written whole or not at all."""

import os
import subprocess
import sys

import pytest

from lossarium import files
from lossarium.files import remove_leftovers, temporary_name, write_whole


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_whole(path, b"old")

    def refuse(_handle):
        raise OSError

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(OSError):  # noqa: PT011 - that very one
        write_whole(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a", b"old")]


def test_leftovers_of_ended_processes_are_removed_and_no_others(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = temporary_name(tmp_path / "mine")
    theirs = tmp_path / f".theirs.{os.getppid()}.part"
    dead = [tmp_path / f".step_00000001.safetensors.{number}.part" for number in (ended.pid, 4_194_305)]
    others = [tmp_path / name for name in ("step.part", ".hidden.part", ".x.12a.part", "x.1.part")]
    for path in (mine, theirs, *dead, *others):
        path.touch()
    remove_leftovers([tmp_path, tmp_path / "missing"])
    assert set(tmp_path.iterdir()) == {theirs, *others}
