"""Output that cannot be written, and encodings that lack characters: neither ends a command."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossarium.cli.main import main
from lossarium.cli.output import TolerantStream, tolerant_output
from tests.cli.folders import QUICK, pair, picture_folder

FULL = Path("/dev/full")
needs_a_full_device = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


class Refusing(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.tries = 0

    def write(self, _text):
        self.tries += 1
        raise OSError(self.number, os.strerror(self.number))

    flush = lambda self: self.write("")  # noqa: E731 - a full device refuses both


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EAGAIN])
def test_a_write_that_fails_is_dropped_and_said_once_on_the_other_stream(monkeypatch, number):
    out, err = io.StringIO(), Refusing(number)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with tolerant_output():
        for _ in range(3):
            print("step", file=sys.stderr, flush=True)
        print("done")
    assert (sys.stdout, sys.stderr) == (out, err)
    said = f"note: progress cannot be printed ({os.strerror(number)}); the work goes on\n"
    assert out.getvalue() == f"{said}done\n"


def test_results_are_not_mixed_with_notes(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", Refusing(errno.ENOSPC))
    with tolerant_output() as output:
        output.results = True
        print("step", file=sys.stderr)
        print("a,b")
    assert out.getvalue() == "a,b\n"


def test_a_stream_that_recovers_is_written_again(monkeypatch):
    class Filled(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            return super().write(text)

    stream = Filled()
    tolerant = TolerantStream(stream)
    tolerant.write("lost")
    monkeypatch.setattr(Filled, "full", False)
    tolerant.write("kept")
    assert stream.getvalue() == "kept"


def test_a_process_without_streams_prints_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["losses", "--no-cost", "--csv"]) == 0
    assert sys.stdout is None


def shell(line, *arguments, **environment):
    """Run a line of shell in which "$@" is the command."""
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "lossarium", *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        check=False,
        timeout=300,
    )


@needs_a_full_device
@pytest.mark.parametrize(
    "line",
    [
        '"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}',
        '"$@" >/dev/full 2>&1',
        '"$@" >&- 2>&-',
    ],
)
def test_a_comparison_writes_its_report_even_if_its_output_is_lost(tmp_path, line):
    out = tmp_path / "out"
    ended = shell(
        line, "compare", "--seeds", "1", *pair(tmp_path), *QUICK, "--losses", "mse,mae", "--out", out
    )
    assert ended.returncode == 0, ended
    assert (out / "report.html").exists()
    assert b"Traceback" not in ended.stderr + ended.stdout
    assert b"Exception ignored" not in ended.stderr


@needs_a_full_device
def test_lost_results_are_a_failure_and_a_closed_pipe_is_not():
    lost = shell('"$@" >/dev/full', "losses", "--no-cost")
    assert lost.returncode == 2
    assert lost.stderr.decode() == (
        "lossarium: error: the output cannot be written (No space left on device); write it elsewhere\n"
    )
    enough = shell('"$@" | head -1; exit ${PIPESTATUS[0]}', "losses", "--no-cost", "--csv")
    assert (enough.returncode, enough.stderr) == (0, b"")
    assert enough.stdout.startswith(b"name,")


@needs_a_full_device
def test_a_lost_help_text_leaves_no_complaint():
    for line in ('"$@" | true; exit ${PIPESTATUS[0]}', '"$@" >/dev/full'):
        ended = shell(line, "--help")
        assert (ended.returncode, ended.stderr) in {
            (0, b""),
            (0, b"note: results cannot be printed (No space left on device); the work goes on\n"),
        }


def printed(monkeypatch, encoding, *arguments):
    """What a command prints to a stream of this encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "200")
    assert main([str(argument) for argument in arguments]) == 0
    return stream.buffer.getvalue().decode(encoding)


def test_a_comparison_prints_its_verdict_in_any_encoding(tmp_path, monkeypatch):
    first, second = picture_folder(tmp_path / "ada é"), picture_folder(tmp_path / "寿", seed=5)
    command = [
        "compare",
        "--seeds",
        "2",
        first,
        second,
        *QUICK,
        "--losses",
        "mse,mae",
        "--out",
        tmp_path / "out é",
    ]
    for encoding in ("ascii", "cp1252", "utf-8"):
        text = printed(monkeypatch, encoding, *command)
        sign = "..." if encoding == "ascii" else "…"
        # In a table all figures of a column begin and end at the same place.
        figures = [line for line in text.splitlines() if line.count(sign) > 1]
        assert len(figures) == 2
        assert len({line.rindex(sign) for line in figures}) == 1


def test_measure_and_explain_print_in_any_encoding(tmp_path, monkeypatch):
    first, second = picture_folder(tmp_path / "a", frames=2), picture_folder(tmp_path / "b", frames=2, seed=1)
    for folder in (first, second):
        next(folder.iterdir()).rename(folder / "寿é.png")
    for encoding in ("ascii", "cp1252"):
        text = printed(monkeypatch, encoding, "measure", first, second)
        assert "v lower is better" in text
        assert r"\u5bff" in text
        figures = [line for line in text.splitlines() if "\\xe9.png" in line or "mean" in line]
        assert len({len(line.rstrip()) for line in figures}) == 1, text
        assert "formula" in printed(monkeypatch, encoding, "explain", "ssim + lpips + general")


@pytest.mark.parametrize("width", ["0", "1"])
def test_a_terminal_of_no_width_still_gets_its_output(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["explain", "mse"]) == 0
    assert {"formula", "source"} <= set(capsys.readouterr().out.split())
