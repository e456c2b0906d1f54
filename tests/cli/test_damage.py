"""Damaged folders: messages name what is lost, and everything else is kept or restored."""

import shutil

import pytest

from lossarium.cli.main import main
from lossarium.training import records
from tests.cli.folders import QUICK, pair


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A finished comparison, its command without --out, and the folders of faces."""
    parent = tmp_path_factory.mktemp("finished")
    folders = pair(parent)
    command = ["compare", "--seeds", "1", *map(str, folders), *QUICK, "--losses", "mse,mae"]
    assert main([*command, "--out", str(parent / "out")]) == 0
    return parent / "out", command, folders


@pytest.fixture
def finished(begun, tmp_path):
    """A copy of it to damage, and its command."""
    out, command, folders = begun
    shutil.copytree(out, tmp_path / "out")
    return tmp_path / "out", [*command, "--out", str(tmp_path / "out")], folders


def said(capsys, command, status):
    """The output on one line; checks the exit status and that there was no traceback."""
    capsys.readouterr()
    assert main([str(argument) for argument in command]) == status
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return " ".join((printed.out + printed.err).split())


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def a_small_one(path):
    shutil.copy(path.with_name("frames.png"), path)


@pytest.mark.parametrize(
    "spoil", [cut, a_small_one, lambda path: path.unlink(), lambda path: path.write_text("x")]
)
def test_a_damaged_sheet_is_shown_as_a_placeholder_and_does_not_block_the_verdict(finished, capsys, spoil):
    out, command, _ = finished
    verdict = (out / "verdict.json").read_bytes()
    spoil(out / "trials" / "mse-seed0" / "previews" / "step_00000006.png")
    text = said(capsys, command, 0)
    assert "note: The picture " in text
    assert "step_00000006.png" in text
    assert "A grey placeholder stands for it" in text
    assert "A grey placeholder stands for it" in (out / "report.html").read_text()
    assert (out / "verdict.json").read_bytes() == verdict


def test_missing_weights_are_reported_and_the_verdict_stays(finished, capsys):
    out, command, folders = finished
    trial = out / "trials" / "mse-seed0"
    shutil.rmtree(trial / "checkpoints")
    assert "mse-seed0 are gone: there is no checkpoint in it" in said(capsys, command, 0)
    swap = ["swap", trial, folders[0], out / "swapped", "--from", "ada", "--to", "ben"]
    assert "the trial is finished, but its weights are gone" in said(capsys, swap, 2)


def test_a_finished_trial_without_weights_says_so(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["train", *pair(tmp_path), *QUICK, "--out", out, "--keep-every", "3"]
    said(capsys, command, 0)
    checkpoint = out / "checkpoints" / "step_00000006.safetensors"
    content = checkpoint.read_bytes()
    # Written as a new file, since the snapshot is a hard link to the same one.
    checkpoint.unlink()
    assert "is finished, but its weights are gone: " in (text := said(capsys, command, 2))
    assert "but there is snapshots/step_00000006.safetensors, snapshots/step_00000003.safetensors" in text
    checkpoint.write_bytes(content[:-1])
    assert "step_00000006.safetensors is damaged" in said(capsys, command, 2)
    checkpoint.write_bytes(content)
    assert "Trained 6 steps" in said(capsys, command, 0)


def rewritten(trial, change):
    """Rewrite the rows with a valid chain, as a user's own tool might."""
    rows = [change(row) for row in list(records.read(trial))]
    opened = records.Records(trial, 0)
    for row in rows:
        opened.write(row)
    opened.close()


def with_scores(change):
    return lambda row: {**row, "held_out": change(row["held_out"])} if "held_out" in row else row


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda scores: {key: ["high"] for key in scores}, "its held_out is not a table of lists of numbers"),
        (lambda scores: dict(list(scores.items())[1:]), "end without reconstruction/psnr"),
        (lambda _: {}, "end without reconstruction/psnr"),
        (lambda scores: {key: values[1:] for key, values in scores.items()}, "different numbers of frames"),
    ],
)
def test_scores_that_are_text_or_missing_are_one_sentence(finished, capsys, change, complaint):
    out, command, _ = finished
    rewritten(out / "trials" / "mse-seed0", with_scores(change))
    text = said(capsys, command, 2)
    assert complaint in text
    assert "run the same command again" in text


def test_a_changed_digit_is_named_and_only_that_trial_is_trained_again(finished, capsys):
    out, command, _ = finished
    trial = out / "trials" / "mse-seed0"
    lines = (trial / records.NAME).read_bytes().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if place > 2 and b'"loss":0.' in line)
    lines[place] = lines[place].replace(b'"loss":0.', b'"loss":1.')
    (trial / records.NAME).write_bytes(b"".join(lines))
    text = said(capsys, command, 2)
    assert f"metrics.jsonl is damaged in line {place + 1} (it was changed" in text
    assert (trial / "checkpoints" / "step_00000006.safetensors").exists()
    other = (out / "trials" / "mae-seed0" / records.NAME).read_bytes()
    trial.rename(out.parent / "elsewhere")
    said(capsys, command, 0)
    assert (out / "trials" / "mae-seed0" / records.NAME).read_bytes() == other


@pytest.mark.parametrize("name", ["comparison.toml", "trials/mse-seed0/trial.toml"])
def test_truncated_settings_are_restored_and_nothing_is_trained_again(finished, capsys, name):
    out, command, folders = finished
    path = out / name
    whole, rows = path.read_bytes(), (out / "trials" / "mse-seed0" / records.NAME).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    if "trials" in name:
        swap = ["swap", path.parent, folders[0], out / "swapped", "--from", "ada", "--to", "ben"]
        assert "15 pictures marked" in said(capsys, swap, 0)
    assert f"{path} was damaged; it was put back from its copy" in said(capsys, command, 0)
    assert path.read_bytes() == whole
    assert (out / "trials" / "mse-seed0" / records.NAME).read_bytes() == rows


def changed_digit(trial, *, after_step):
    """Add a digit to the first row after a step; gives the number of its line."""
    lines = (trial / records.NAME).read_bytes().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if b'"step":%d,"' % (after_step + 1) in line)
    lines[place] = lines[place].replace(b'"loss":', b'"loss":1')
    (trial / records.NAME).write_bytes(b"".join(lines))
    return place + 1


def test_damaged_rows_of_a_finished_trial_are_trained_again_from_the_checkpoint_before_them(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["train", *pair(tmp_path), *QUICK, "--out", out, "--keep-every", "3"]
    said(capsys, command, 0)
    rows = [{**row, "seconds": 0} for row in records.read(out)]
    line = changed_digit(out, after_step=3)
    damaged = (out / records.NAME).read_bytes()
    text = said(capsys, command, 0)
    assert f"metrics.jsonl is damaged in line {line} (it was changed" in text
    assert "it is trained again from step 3, and kept as metrics.damaged.jsonl" in text
    assert [{**row, "seconds": 0} for row in records.read(out)] == rows
    assert (out / "metrics.damaged.jsonl").read_bytes() == damaged
    assert "trained again" not in said(capsys, command, 0)


def test_damaged_rows_without_a_checkpoint_before_them_are_named_with_the_command_that_helps(
    tmp_path, capsys
):
    out = tmp_path / "a trial"
    command = ["train", *pair(tmp_path), *QUICK, "--out", out]
    said(capsys, command, 0)
    rows = [{**row, "seconds": 0} for row in records.read(out)]
    line = changed_digit(out, after_step=3)
    text = said(capsys, command, 2)
    assert f"metrics.jsonl is damaged in line {line} (it was changed" in text
    assert f"mv '{out}' '{out}-damaged', and run the same command again" in text
    out.rename(f"{out}-damaged")
    said(capsys, command, 0)
    assert [{**row, "seconds": 0} for row in records.read(out)] == rows
