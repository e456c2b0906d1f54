"""Commands that refuse to run: one sentence, exit status 2, nothing half-written."""

import errno
import shutil
import struct
import zlib
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image

from lossarium.cli.main import main
from lossarium.training import checkpoints, rescue
from tests.cli.folders import QUICK, pair, picture_folder

COMPILING = "lossarium: compiling kernels for this processor, the first time only; this takes seconds\n"


def refused(capsys, *arguments) -> str:
    """The sentence with which the command line refuses these arguments."""
    status = main(["compare", "--seeds", "1", *map(str, arguments)])
    printed = capsys.readouterr()
    assert status == 2
    # In a process that is the first to need them, kernels are compiled first, which is said once.
    said = printed.err[printed.err.startswith(COMPILING) and len(COMPILING) :]
    assert said.startswith("lossarium: error: ")
    assert "Traceback" not in said
    return said.removeprefix("lossarium: error: ").strip()


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ("mse,sim", 'there is no loss "sim"; did you mean ssim'),
        ("ssim + 0.5**mae", "ssim + 0.5**mae\n               ^"),
        ("mse,-1*mae", "a negative weight would reward the error"),
        ("mse, mae,1*mse", '"mse" is given twice'),
        ("mse,,mae", "the name of a loss is expected"),
        ("smooth_l1(beta=0)", "beta must be between"),
        ("ssim(window=33)", "33 pixels does not fit pictures of 32x32"),
        ("lpips(net=vgg)", "vgg"),
    ],
)
def test_invalid_losses_are_refused(tmp_path, capsys, losses, said):
    out = tmp_path / "out"
    assert said in refused(capsys, *pair(tmp_path), *QUICK, "--losses", losses, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--steps", "0", "--steps must be from 1"),
        ("--seeds", "-1", "--seeds must be from 1"),
        ("--margin", "psnr", "--margin is"),
        ("--margin", "flip=1", "--margin flip is not one of --judges: psnr, mae, ssim, lpips"),
        ("--margin", "psnr=much", "--margin psnr must be a number, not much"),
        ("--margin", "psnr=-1", "--margin psnr must be 0 or more, not -1"),
        ("--size", "50", "multiple of 16"),
        ("--size", "16", "multiple of 16 from 32"),
        ("--batch-size", "0", "--batch-size must be from 1"),
        ("--learning-rate", "0", "--learning-rate must be positive"),
        ("--learning-rate", "nan", "--learning-rate must be positive"),
        ("--model", "huge", 'there is no model "huge"; choose from compact'),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_range(tmp_path, capsys, option, value, said):
    out = tmp_path / "out"
    assert said in refused(capsys, *pair(tmp_path), *QUICK, option, value, "--out", out)
    assert not out.exists()


def _truncated_jpeg(path: Path) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:-700])


def _bomb(path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


BAD_PICTURES = {
    "cut.jpg": (_truncated_jpeg, "cut.jpg"),
    "notes.png": (lambda path: path.write_text("dear diary"), "notes.png"),
    "nothing.webp": (lambda path: path.touch(), "0 bytes"),
    "bomb.png": (_bomb, "30000 x 30000"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_named_and_skipped_only_when_asked(tmp_path, capsys, name):
    make, said = BAD_PICTURES[name]
    first, second = pair(tmp_path)
    make(first / name)
    out = tmp_path / "out"
    sentence = refused(capsys, first, second, *QUICK, "--out", out)
    assert said in sentence
    assert name in sentence
    assert "--skip-bad" in sentence
    assert not out.exists()
    assert (
        main(
            [
                "compare",
                "--seeds",
                "1",
                str(first),
                str(second),
                *QUICK,
                "--losses",
                "mse",
                "--skip-bad",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert name in capsys.readouterr().out


def test_missing_empty_and_small_folders_are_refused(tmp_path, capsys):
    good = picture_folder(tmp_path / "good")
    few = picture_folder(tmp_path / "few", frames=7)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").touch()
    out = tmp_path / "out"
    assert "missing" in refused(capsys, good, tmp_path / "missing", "--out", out)
    assert "empty" in refused(capsys, tmp_path / "empty", good, "--out", out)
    assert "a file" in refused(capsys, tmp_path / "a file", good, "--out", out)
    assert "7 usable pictures" in refused(capsys, few, good, "--out", out)
    assert "same folder" in refused(capsys, good, good, "--out", out)
    assert "two folders" in refused(capsys, good, "--out", out)
    assert not out.exists()


def test_an_output_folder_without_enough_disk_space_is_refused(tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 10**6))
    out = tmp_path / "out"
    assert "room for 1 MB" in refused(capsys, *pair(tmp_path), *QUICK, "--out", out)
    assert not out.exists()


def test_an_output_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert "--out" in refused(capsys, *pair(tmp_path), *QUICK, "--out", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("command", ["compare", "train", "find-lr"])
def test_an_output_in_a_folder_of_pictures_is_refused(tmp_path, capsys, monkeypatch, command):
    first, second = pair(tmp_path)
    before = sorted(first.rglob("*")), sorted(second.rglob("*"))
    quick = ("--test-steps", "10") if command == "find-lr" else QUICK
    for place, options in ((tmp_path, ("--out", str(first / "out"))), (first, ()), (second / ".", ())):
        monkeypatch.chdir(place)
        assert main([command, str(first), str(second), *quick, *options]) == 2
        assert "would be taken for input the next time; choose a folder outside" in capsys.readouterr().err
    assert (sorted(first.rglob("*")), sorted(second.rglob("*"))) == before


def test_a_disk_that_fills_up_on_the_way_loses_nothing(tmp_path, capsys, monkeypatch):
    def full(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    command = [
        "compare",
        "--seeds",
        "1",
        *map(str, pair(tmp_path)),
        *QUICK,
        "--losses",
        "mse,mae",
        "--out",
        str(tmp_path / "out"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_whole", full)
        patch.setattr(rescue, "PATIENCE_SECONDS", 0)
        assert main(command) == 2
        assert "the disk is full; free some room and run the same command again" in capsys.readouterr().err
    assert main(command) == 0
    assert (tmp_path / "out" / "report.html").exists()
