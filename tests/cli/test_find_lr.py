"""`lossarium find-lr`: a table, a page, and nothing else left behind."""

import json
import re

import pytest

from lossarium.cli.main import main
from lossarium.training import rate_finder
from lossarium.trial import precision
from tests.cli.folders import QUICK, pair

# The shortest test that there is.
SHORT = ("--size", "32", "--batch-size", "2", "--test-steps", "10", "--lowest", "1e-5", "--highest", "0.1")


def find_lr(parent, *options):
    return ["find-lr", *map(str, pair(parent)), *SHORT, "--out", str(parent / "out"), *options]


def refused(capsys, arguments):
    assert main(list(map(str, arguments))) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    # A message on compiled kernels may come first.
    _, mark, sentence = printed.err.rpartition("lossarium: error: ")
    assert mark
    return sentence


def test_the_bundled_faces_give_a_table_and_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["find-lr", "demo", *SHORT, "--losses", "mse, ssim + mae"]) == 0
    printed = capsys.readouterr()
    page = (tmp_path / "lossarium-find-lr-demo" / "find-lr.html").read_text()
    assert [path.name for path in tmp_path.rglob("*")] == ["lossarium-find-lr-demo", "find-lr.html"]
    assert "Curves: lossarium-find-lr-demo/find-lr.html" in printed.out
    rate = re.search(r"One rate for all: --learning-rate (\S+)", printed.out)[1]
    assert 1e-5 <= float(rate) <= 0.1
    assert f"--learning-rate {rate}" in page
    assert re.search(r"^ ssim \+ mae +[\d.e-]+ +[\d.e-]+ ", printed.out, re.MULTILINE)
    assert "step 10/10" in printed.err


def test_repeated_runs_agree_and_another_seed_differs(tmp_path, capsys):
    def curves(*options):
        assert main([*again, *options]) == 0
        page = (tmp_path / "out" / "find-lr.html").read_text()
        return json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])["curves"]

    again = find_lr(tmp_path, "--losses", "mse")
    first = curves()
    assert curves() == first
    assert curves("--seed", "1") != first
    assert len(first[0]["losses"]) == 10
    capsys.readouterr()


def test_an_interrupted_search_leaves_nothing(tmp_path, capsys, monkeypatch):
    calls = []

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return loss_terms(*arguments, **named)

    loss_terms = rate_finder.loss_terms
    monkeypatch.setattr(rate_finder, "loss_terms", interrupted)
    assert main(find_lr(tmp_path, "--losses", "mse, mae")) == 130
    assert not (tmp_path / "out").exists()
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--lowest", "0"), "--lowest must be a learning rate above 0"),
        (("--lowest", "0.2"), "not 0.2 and 0.1"),
        (("--highest", "inf"), "--highest one above that"),
        (("--highest", "nan"), "--highest one above that"),
        (("--test-steps", "9"), "--test-steps must be from 10"),
        (("--seed", "-1"), "--seed must be from 0"),
        (("--losses", "mse, 1*mse"), 'the loss "mse" is given twice'),
        (("--losses", "mse, psnr"), "psnr"),
        (("--losses", "mse, ssim(window=33)"), "33 pixels does not fit"),
        (("--optimizer", "adm"), "did you mean adam"),
        (("--from", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(tmp_path, capsys, options, said):
    assert said in refused(capsys, find_lr(tmp_path, *options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", ["--steps", "--learning-rate", "--schedule", "--judge", "--judges", "--judge-every"]
)
def test_options_of_whole_trials_are_neither_offered_nor_accepted(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as stopped:
        main(find_lr(tmp_path, option, "1"))
    assert stopped.value.code == 2
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["find-lr", "--help"])
    assert not re.search(rf"{option}\b(?!-)", capsys.readouterr().out)


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert "is not a folder" in refused(capsys, find_lr(tmp_path))
    assert (tmp_path / "out").read_text() == "mine"


def test_range_tests_start_from_the_weights_of_a_trial(tmp_path, capsys):
    trial = tmp_path / "trial"
    command = find_lr(tmp_path, "--losses", "mse", "--from", str(trial))
    folders = command[1:3]
    assert main(["train", *folders, *QUICK, "--out", str(trial)]) == 0
    before = {path: path.read_bytes() for path in trial.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"lossarium set \S*trial learning_rate=", printed.replace("\n", ""))
    page = (tmp_path / "out" / "find-lr.html").read_text()
    assert "newest of" in page
    assert {path: path.read_bytes() for path in trial.rglob("*") if path.is_file()} == before
    assert "it was trained with: --model compact --size 32" in refused(capsys, [*command, "--size", "48"])
    swapped = [command[0], folders[1], folders[0], *command[3:]]
    assert "was trained on ada, ben, not on ben, ada" in refused(capsys, swapped)


def test_bf16_that_is_slower_than_float32_is_announced_as_by_train(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "pass_times", lambda *_: precision.PassTimes(2, 8.1, 0.9))
    assert main(find_lr(tmp_path, "--losses", "mse", "--precision", "bf16")) == 0
    assert "note: bf16 takes 8.1 s a step here, float32 900 ms: " in " ".join(capsys.readouterr().out.split())
