"""Continuing an interrupted swap: finished pictures are kept, and the result is the same."""

import os
from dataclasses import asdict

import pytest

from lossarium.errors import LossariumError
from lossarium.swapping import apply
from lossarium.swapping.apply import SwapOptions, swap_pictures
from lossarium.swapping.jobs import find_jobs
from lossarium.swapping.trained import load_trained
from lossarium.swapping.unfinished import NAME, Ledger, swap_digest
from tests.facesets.examples import blobs
from tests.facesets.handmade_folders import save
from tests.swapping.trials import write_trial


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load_trained(write_trial(tmp_path_factory.mktemp("trial")))


@pytest.fixture
def folder(tmp_path):
    """Seven pictures that are not square, so each has a remark."""
    faceset = blobs(frames=7, size=48)
    for name, frame in zip(faceset.frame_names, faceset.frames, strict=True):
        save(tmp_path / "in" / f"{name}.png", frame[4:44])
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(apply, "_CHUNK", 3)


class KilledError(Exception):
    """Stands for a process that dies."""


def swap(trained, folder, out, *, die_after=None, finish=None, identity=1, force=False, written=None):
    """Swap like the command."""
    finish = finish or SwapOptions()
    ledger = Ledger(out, swap_digest(trained.digest, identity, asdict(finish)))

    def watch(done, _total):
        if done == die_after:
            raise KilledError

    jobs = find_jobs(folder, out, force=force, is_finished=lambda job: ledger.remarks_of(job) is not None)
    if written is not None:
        before = {job.output: job.output.stat().st_mtime_ns for job in jobs if job.output.exists()}
    swapped = swap_pictures(trained, identity, jobs, finish, watch=watch, ledger=ledger)
    if written is not None:
        written += [
            job.output.name for job in jobs if before.get(job.output) != job.output.stat().st_mtime_ns
        ]
    return swapped


def contents(out):
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize("die_after", [1, 3, 5, 6])
def test_an_interrupted_swap_continues_and_ends_with_the_same_files(trained, folder, tmp_path, die_after):
    whole = swap(trained, folder, tmp_path / "whole")
    with pytest.raises(KilledError):
        swap(trained, folder, tmp_path / "out", die_after=die_after)
    assert (tmp_path / "out" / NAME).exists()
    written = []
    swapped = swap(trained, folder, tmp_path / "out", written=written)
    assert written == [f"000{place}.png" for place in range(die_after, 7)]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert swapped.finished_before == die_after
    assert (swapped.written, swapped.notes) == (whole.written, whole.notes)


def test_changed_pictures_do_not_count_as_finished(trained, folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        swap(trained, folder, out, die_after=5)
    (out / "0001.png").write_bytes(b"mine")
    os.utime(folder / "0002.png", (1, 1))
    (out / "0003.png").unlink()
    with pytest.raises(LossariumError, match=r"2 files would be replaced: .*0001.png, .*0002.png;"):
        swap(trained, folder, out)
    written = []
    swap(trained, folder, out, force=True, written=written)
    assert written == ["0001.png", "0002.png", "0003.png", "0005.png", "0006.png"]


@pytest.mark.parametrize("other", [{"identity": 0}, {"finish": SwapOptions(full_size=True)}])
def test_another_swap_does_not_continue_it(trained, folder, tmp_path, other):
    with pytest.raises(KilledError):
        swap(trained, folder, tmp_path / "out", die_after=5)
    with pytest.raises(LossariumError, match="5 files would be replaced"):
        swap(trained, folder, tmp_path / "out", **other)
    written = []
    swap(trained, folder, tmp_path / "out", force=True, written=written, **other)
    assert len(written) == 7


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b"[" * 100_000 + b"\n", b"{}\n{}\n", b'{"swap":1}\n[]\n']
)
def test_a_damaged_ledger_is_ignored(trained, folder, tmp_path, content):
    with pytest.raises(KilledError):
        swap(trained, folder, tmp_path / "out", die_after=5)
    (tmp_path / "out" / NAME).write_bytes(content)
    with pytest.raises(LossariumError, match="5 files would be replaced"):
        swap(trained, folder, tmp_path / "out")


def test_incomplete_files_are_written_again(trained, folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        swap(trained, folder, out, die_after=5)
    ledger = out / NAME
    whole = ledger.read_bytes()
    # Killed between the ledger's line and the picture, and in the middle of a line.
    (out / "0004.png").unlink()
    ledger.write_bytes(whole + b'{"output": "00')
    (out / ".0004.png.4194305.part").write_bytes(b"half")
    assert swap(trained, folder, out).finished_before == 4
    assert sorted(contents(out)) == [f"000{place}.png" for place in range(7)]
