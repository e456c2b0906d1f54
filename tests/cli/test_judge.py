"""`lossarium judge`: folders of pictures that anything made."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossarium.cli.main import main
from lossarium.judging import folders

SIZE = (40, 36)
FAST = ("--judges", "psnr, mae")


def picture(seed: int, size=SIZE) -> np.ndarray:
    """(height, width, 3) of smooth colours."""
    coarse = np.random.default_rng(seed).integers(40, 216, (5, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float64)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels.round(), 0, 255).astype(np.uint8)).save(path)


def references(parent: Path, count=30) -> Path:
    for number in range(count):
        save(parent / "truth" / f"{number}.png", picture(number))
    return parent / "truth"


def noisy(parent: Path, name: str, strength: float, seed: int, count=30, ending="png") -> Path:
    """The references with noise of its own."""
    source = np.random.default_rng(1000 + seed)
    for number in range(count):
        save(
            parent / name / f"{number}.{ending}",
            picture(number) + source.normal(0, strength, (*SIZE[::-1], 3)),
        )
    return parent / name


def judged(capsys, *command) -> dict:
    assert main(["judge", *map(str, command), "--json"]) == 0
    shown = capsys.readouterr()
    return json.loads(shown.out)


def refused(capsys, *command) -> str:
    assert main(["judge", *map(str, command)]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("lossarium: error: ")
    assert shown.err.count("\n") == 1
    return shown.err


def test_planted_differences_are_found_and_folders_that_are_equal_are_alike(tmp_path, capsys):
    truth = references(tmp_path)
    given = [f"{name}={noisy(tmp_path, name, strength, 0)}" for name, strength in (("bad", 12), ("good", 6))]
    shutil.copytree(tmp_path / "bad", tmp_path / "copy")
    verdict = judged(capsys, truth, *given, f"copy={tmp_path / 'copy'}", "--blocks", "1")
    assert verdict["winner"] == "good"
    assert verdict["better"] == [["good", "bad"], ["good", "copy"]]
    assert verdict["equivalent"] == [["bad", "copy"]]
    assert verdict["about"] == "pictures"
    assert (verdict["pictures"], verdict["blocks"]) == (30, 30)
    assert list(verdict["values"]) == ["psnr", "mae", "ssim", "lpips"]
    assert verdict["folders"]["copy"] == [(tmp_path / "copy").as_posix()]
    assert verdict["sentence"] == "On 30 pictures: good has the best pictures: it beats bad and copy."


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_claimed_of_folders_with_noise_of_one_strength(tmp_path, capsys, seed):
    truth = references(tmp_path)
    given = [f"m{k}={noisy(tmp_path, f'm{k}', 8, 10 * seed + k)}" for k in range(5)]
    verdict = judged(capsys, truth, *given, *FAST, "--margin", "psnr=0", "--margin", "mae=0")
    assert verdict["better"] == []
    assert verdict["winner"] is None


def test_the_order_of_arguments_changes_nothing(tmp_path, capsys):
    truth = references(tmp_path, 12)
    given = [
        f"{name}={noisy(tmp_path, f'{name}{run}', strength, 7 * run + strength, 12)}"
        for name, strength in (("a", 8), ("b", 9), ("c", 4))
        for run in range(3)
    ]
    one = judged(capsys, truth, *given, *FAST)
    other = judged(capsys, truth, *reversed(given), *FAST)
    for key in ("winner", "better", "equivalent", "unresolved", "critical", "blocks", "about"):
        assert one[key] == other[key]
    assert one["winner"] == "c"


def test_several_folders_of_a_name_are_runs_and_the_verdict_is_about_methods(tmp_path, capsys):
    truth = references(tmp_path, 12)
    given = [
        f"{name}={noisy(tmp_path, f'{name}{run}', strength, 7 * run + strength, 12)}"
        for name, strength in (("a", 9), ("b", 4))
        for run in range(3)
    ]
    verdict = judged(capsys, truth, *given, *FAST)
    assert verdict["about"] == "methods"
    assert verdict["seeds"] == 3
    assert verdict["winner"] == "b"
    assert verdict["sentence"].startswith("On 12 pictures with 3 runs of each: b makes the best pictures")
    few = judged(capsys, truth, *given[:5], *FAST)
    assert few["winner"] is None
    assert few["better"] == []
    assert "with 2 to 3 runs of each: No verdict yet: no two methods have 3 runs each" in few["sentence"]


def test_runs_that_are_copies_of_each_other_are_refused(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 9, 2, 6)
    shutil.copytree(a, tmp_path / "again")
    said = refused(capsys, truth, f"m={a}", f"m={tmp_path / 'again'}", f"n={b}", *FAST)
    assert "equal pixel by pixel, so they are one run and not two" in said


def test_a_copy_of_the_references_is_named(tmp_path, capsys):
    truth = references(tmp_path, 6)
    shutil.copytree(truth, tmp_path / "copy")
    a = noisy(tmp_path, "a", 8, 1, 6)
    verdict = judged(capsys, truth, f"copy={tmp_path / 'copy'}", f"a={a}", *FAST)
    assert verdict["troubles"] == [
        f"{(tmp_path / 'copy').as_posix()} equals the references pixel by pixel: it may be a copy of them "
        "and no result."
    ]


def test_a_name_that_is_a_loss_has_home_judges_and_says_so(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 9, 2, 6)
    verdict = judged(capsys, truth, f"mae={a}", f"ours={b}", *FAST)
    assert "mae" in verdict["home"]["mae"]
    assert any(caveat.startswith("mae: this name is a loss") for caveat in verdict["caveats"])


def test_out_has_verdict_report_and_every_score(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 3, 2, 6)
    out = tmp_path / "deep" / "out"
    verdict = judged(capsys, truth, f"<b>a={a}", f"b={b}", *FAST, "--out", out)
    assert json.loads((out / "verdict.json").read_text()) == verdict
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;a" in page
    assert "<b>a" not in page
    assert verdict["sentence"].partition(": ")[2].partition(" has")[0] in page
    assert page.count("data:image/webp") > 2 * 5
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert len(rows) == 2 * 6
    mean = np.mean([float(row["psnr"]) for row in rows if row["name"] == "b"])
    assert mean == pytest.approx(verdict["values"]["psnr"]["b"]["mean"], rel=1e-6)
    assert {row["picture"] for row in rows} == {str(number) for number in range(6)}


def test_the_terminal_shows_scores_pairs_the_verdict_and_its_limits(tmp_path, capsys):
    truth = references(tmp_path, 30)
    a, b = noisy(tmp_path, "a", 12, 1), noisy(tmp_path, "b", 3, 2)
    assert main(["judge", str(truth), f"a={a}", f"b={b}", *FAST]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "b has the best pictures: it beats a." in shown
    assert "beats" in shown
    assert "30 pictures count as 15 blocks of 2" in shown
    assert "home judge" not in shown


def test_pictures_match_by_name_whatever_their_ending_and_accents(tmp_path, capsys):
    for number, name in enumerate(("e\u0301t\u00e9/1", "10", "9")):
        save(tmp_path / "truth" / f"{name}.png", picture(number))
        save(tmp_path / "a" / f"{name}.jpg", picture(number))
    for number, name in enumerate(("\u00e9te\u0301/1", "10", "9")):
        save(tmp_path / "b" / f"{name}.webp", picture(number) + 9)
    verdict = judged(capsys, tmp_path / "truth", f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", *FAST)
    assert verdict["pictures"] == 3


def test_pictures_that_a_folder_lacks_are_an_error_or_left_out_of_all(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 9, 2, 6)
    (a / "3.png").unlink()
    (b / "5.png").rename(b / "extra.png")
    command = (truth, f"a={a}", f"b={b}", *FAST)
    said = refused(capsys, *command)
    for name in ("3.png", "5.png", "extra.png"):
        assert name in said
    assert "--common" in said
    verdict = judged(capsys, *command, "--common")
    assert verdict["pictures"] == 4
    assert any("extra.png" in note and note.endswith("left out.") for note in verdict["notes"])


def test_pictures_that_cannot_be_read_are_all_named_or_left_out_of_every_folder(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 9, 2, 6)
    (a / "1.png").write_bytes((a / "1.png").read_bytes()[:200])
    (b / "1.png").write_bytes(b"")
    (truth / "4.png").write_text("<svg/>")
    out = tmp_path / "out"
    command = (truth, f"a={a}", f"b={b}", *FAST, "--out", out)
    said = refused(capsys, *command)
    assert "3 pictures cannot be read" in said
    for path in (a / "1.png", b / "1.png", truth / "4.png"):
        assert path.as_posix() in said
    assert "--skip-bad" in said
    assert not out.exists()
    verdict = judged(capsys, *command, "--skip-bad")
    assert verdict["pictures"] == 4
    assert any("left out of every folder" in note for note in verdict["notes"])
    assert {row["picture"] for row in csv.DictReader((out / "scores.csv").read_text().splitlines())} == {
        "0",
        "2",
        "3",
        "5",
    }


def test_pictures_of_another_size_are_refused_with_both_sizes(tmp_path, capsys):
    truth = references(tmp_path, 4)
    a, b = noisy(tmp_path, "a", 8, 1, 4), noisy(tmp_path, "b", 9, 2, 4)
    save(b / "2.png", picture(2, (20, 18)))
    said = refused(capsys, truth, f"a={a}", f"b={b}", *FAST)
    assert f"{(b / '2.png').as_posix()} is 20 x 18 pixels" in said
    assert "40 x 36" in said


def test_references_of_several_sizes_are_judged(tmp_path, capsys):
    for number in range(8):
        size = (40 + number % 3, 36)
        save(tmp_path / "truth" / f"{number}.png", picture(number, size))
        for name, added in (("a", 9), ("b", 3)):
            save(tmp_path / name / f"{number}.png", picture(number, size) + added)
    verdict = judged(capsys, tmp_path / "truth", f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", *FAST)
    assert verdict["pictures"] == 8
    assert verdict["values"]["mae"]["a"]["mean"] == pytest.approx(9 / 255, rel=1e-5)


def test_masks_say_which_pixels_count(tmp_path, capsys):
    truth = references(tmp_path, 6)
    for number in range(6):
        mask = np.zeros(SIZE[::-1])
        mask[:, : 10 + number] = 255
        save(tmp_path / "masks" / f"{number}.png", mask)
        for name, inside, outside in (("a", 2, 90), ("b", 9, 0)):
            save(tmp_path / name / f"{number}.png", picture(number) * 0 + 100)
            made = picture(number)
            made[:, : 10 + number] += inside
            made[:, 10 + number :] -= outside
            save(tmp_path / name / f"{number}.png", made)
    command = (truth, f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", *FAST)
    assert judged(capsys, *command)["winner"] == "b"
    verdict = judged(capsys, *command, "--masks", tmp_path / "masks")
    assert verdict["winner"] == "a"
    assert verdict["values"]["mae"]["a"]["mean"] == pytest.approx(2 / 255, rel=1e-5)


def test_blocks_may_be_labels_from_a_file(tmp_path, capsys):
    truth = references(tmp_path, 6)
    a, b = noisy(tmp_path, "a", 8, 1, 6), noisy(tmp_path, "b", 9, 2, 6)
    labels = tmp_path / "blocks.csv"
    labels.write_text("name,block\n" + "".join(f"{number}.png,clip {number // 2}\n" for number in range(6)))
    command = (truth, f"a={a}", f"b={b}", *FAST, "--blocks")
    assert judged(capsys, *command, labels)["blocks"] == 3
    assert judged(capsys, *command, 4)["blocks"] == 2
    labels.write_text("0,x\n1,y\n")
    assert "4 pictures have no block" in refused(capsys, *command, labels)
    labels.write_text("0,x\n0,y\n")
    assert "two labels for 0" in refused(capsys, *command, labels)
    labels.write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in refused(capsys, *command, labels)
    assert "neither a number of pictures nor a file" in refused(capsys, *command, tmp_path / "none")
    assert "at least 1" in refused(capsys, *command, 0)


def test_frames_of_a_video_given_as_independent_are_noticed(tmp_path, capsys):
    source = np.random.default_rng(4)
    drift = np.cumsum(source.normal(0, 1.5, 120)) + 20
    for number in range(120):
        save(tmp_path / "truth" / f"{number}.png", np.full((12, 12, 3), 100.0))
        for name, shift in (("a", drift[number]), ("b", 20.0)):
            save(tmp_path / name / f"{number}.png", 100.0 + shift + source.normal(0, 1, (12, 12, 3)))
    command = (tmp_path / "truth", f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}", *FAST)
    caveats = judged(capsys, *command, "--blocks", "1")["caveats"]
    assert any("Neighbouring blocks of pictures are not independent" in caveat for caveat in caveats)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a=a", "b"], "is not NAME=FOLDER"),
        (["a=a", "=b"], "is not NAME=FOLDER"),
        (["a=a", "b="], "is not NAME=FOLDER"),
        (["a=a"], "nothing to compare a with"),
        (["a=a", "a=b"], "nothing to compare a with"),
        (["a=a", "b=a"], "a is given twice"),
        (["a=a", "b=./a/../a"], "is given twice"),
        (["a=a", "b=truth"], "truth is that of the references"),
        (["a=a", "b=missing"], "does not exist"),
        (["a=a", "b=a/0.png"], "is not a folder"),
        (["a=a", "b=b", "--judges", "pnsr"], 'no judge "pnsr"'),
        (["a=a", "b=b", "--judges", "psnr", "--margin", "ssim=1"], "--margin ssim is not one of --judges"),
        (["a=a", "b=b", "--margin", "psnr=-1"], "must be 0 or more"),
        (["a=a", "b=b", "--out", "a/out"], "lies in the input"),
        (["a=a", "b=b", "--out", "a/0.png"], "is not a folder"),
        (["a=a", "b=b", "--masks", "empty"], "holds no pictures"),
        (["a=empty", "b=b"], "holds no pictures"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    references(Path(), 3)
    for seed, name in enumerate("ab"):
        noisy(Path(), name, 8, seed, 3)
    Path("empty").mkdir()
    assert said in refused(capsys, "truth", *arguments)


def test_pictures_too_small_for_a_judge_say_which_one(tmp_path, capsys):
    for name in ("truth", "a", "b"):
        save(tmp_path / name / "0.png", picture(0, (20, 20)))
        save(tmp_path / name / "1.png", picture(1, (20, 20)))
    said = refused(capsys, tmp_path / "truth", f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}")
    assert "lpips cannot judge" in said
    assert "choose other judges with --judges" in said


def test_a_reference_is_read_once_for_all_folders(tmp_path, capsys, monkeypatch):
    truth = references(tmp_path, 6)
    given = [f"{name}={noisy(tmp_path, name, 8, seed, 6)}" for seed, name in enumerate("abc")]
    read = []
    original = folders.read_whole_picture
    monkeypatch.setattr(
        folders, "read_whole_picture", lambda path, packed: read.append(path) or original(path, packed)
    )
    judged(capsys, truth, *given, *FAST)
    assert len(read) == len({*read}) == 6 * 4


def test_pictures_are_read_ahead_only_as_far_as_memory_allows(tmp_path, capsys, monkeypatch):
    truth = references(tmp_path, 12)
    given = [f"{name}={noisy(tmp_path, name, 8, seed, 12)}" for seed, name in enumerate("ab")]
    begun, ahead = [], []
    original_read, original_judge = folders._read, folders._judge
    monkeypatch.setattr(folders, "_read", lambda *one: begun.append(one) or original_read(*one))
    monkeypatch.setattr(folders, "_BYTES_AT_ONCE", 1)
    monkeypatch.setattr(folders, "_BYTES_READ_AHEAD", 2 * 3 * 40 * 36 * 3)

    def judge(batch, *rest):
        ahead.append(len(begun) - batch[-1].place)
        original_judge(batch, *rest)

    monkeypatch.setattr(folders, "_judge", judge)
    judged(capsys, truth, *given, *FAST)
    assert len(ahead) == 12
    assert max(ahead) <= 4
