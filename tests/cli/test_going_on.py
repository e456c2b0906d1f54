"""Continuing finished work: more steps, more losses and seeds, weights of other trials."""

import json
import shutil
import tomllib

import pytest

from lossarium.cli.main import main
from lossarium.training import records
from lossarium.trial import begin_or_continue
from tests.cli.folders import QUICK, pair


def timeless(trial, *, of_steps=False):
    rows = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
    kept = [row for row in rows if not of_steps or "held_out" not in row]
    return [{key: value for key, value in row.items() if key not in ("seconds", "chain")} for row in kept]


def table(folder, name="trial.toml"):
    return tomllib.loads((folder / name).read_text())


@pytest.fixture
def folders(tmp_path):
    return list(map(str, pair(tmp_path)))


def train(folders, out, steps, *options):
    quick = ["--size", "32", "--batch-size", "2", "--preview-every", "0", "--loss", "mse"]
    return main(["train", *folders, *quick, "--steps", str(steps), "--out", str(out), *options])


def test_more_steps_give_the_rows_and_weights_of_a_longer_trial(folders, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    every = ("--judge-every", "3")
    assert train(folders, out, 6, *every) == 0
    begun = table(out)
    assert train(folders, out, 12, *every) == 0
    told = capsys.readouterr().err
    assert "going on from step 6, to 12 instead of 6 steps" in told
    assert "depends on the number of steps" not in told
    assert train(folders, whole, 12, *every) == 0
    assert timeless(out) == timeless(whole)
    assert timeless(out)[-1]["finished"] is True
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_00000012.safetensors"]
    assert (out / "timelapse.webp").exists()
    now = table(out)
    assert now["recipe"] == {**begun["recipe"], "steps": 12}
    assert [(event["step"], event["steps"]) for event in now["continued"]] == [(6, 12)]
    assert {key: now[key] for key in begun if key != "recipe"} == {
        key: begun[key] for key in begun if key != "recipe"
    }


def test_evaluations_stay_where_they_were_and_change_no_other_row(folders, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert train(folders, out, 5) == 0
    assert train(folders, out, 12) == 0
    assert train(folders, whole, 12) == 0
    assert timeless(out, of_steps=True) == timeless(whole, of_steps=True)
    assert timeless(out) != timeless(whole)
    capsys.readouterr()


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "plateau(patience=0)"])
def test_a_schedule_that_depends_on_the_length_is_reported(folders, tmp_path, capsys, schedule):
    out = tmp_path / "out"
    assert train(folders, out, 6, "--schedule", schedule) == 0
    assert train(folders, out, 9, "--schedule", schedule) == 0
    told = capsys.readouterr().err
    assert f"the schedule {schedule}" in told
    assert "the numbers are not those of 9" in told


def test_fewer_steps_than_are_done_are_refused(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(folders, out, 6) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert train(folders, out, 4) == 2
    assert f"{out} has done 6 steps, more than the 4 asked for" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_killed_between_its_end_and_its_new_beginning_it_finishes_as_it_was(
    folders, tmp_path, capsys, monkeypatch
):
    out, whole = tmp_path / "out", tmp_path / "whole"

    def killed(*_arguments):
        raise KeyboardInterrupt

    assert train(folders, out, 6) == 0
    with monkeypatch.context() as patch:
        patch.setattr(begin_or_continue, "_record", killed)
        assert train(folders, out, 9) == 130
    assert not records.is_finished(out)
    assert train(folders, out, 6) == 0
    assert train(folders, whole, 6) == 0
    assert timeless(out) == timeless(whole)
    capsys.readouterr()


def in_another_environment(trial, **versions):
    path = trial / "trial.toml"
    text = path.read_text()
    for key, old in table(trial)["environment"].items():
        if key in versions:
            text = text.replace(f'{key} = "{old}"', f'{key} = "{versions[key]}"')
    path.write_text(text)


def test_another_environment_is_refused_unless_it_is_allowed(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(folders, out, 6) == 0
    in_another_environment(out, numba="0.1", sources="0123456789abcdef")
    # A finished trial is not changed.
    assert train(folders, out, 6) == 0
    assert train(folders, out, 9) == 2
    told = capsys.readouterr().err
    assert "begun in another environment (sources of lossarium: 0123456789abcdef there, " in told
    assert "numba: 0.1 there, " in told
    assert "--any-environment" in told
    assert train(folders, out, 9, "--any-environment") == 0
    assert table(out)["environment"]["numba"] == "0.1"
    assert table(out)["continued"][0]["environment"]["numba"] != "0.1"
    # An allowed environment is the trial's own from then on.
    assert train(folders, out, 12) == 0
    capsys.readouterr()


def test_a_trial_begins_with_the_weights_of_another(folders, tmp_path, capsys):
    first, out, again = tmp_path / "first", tmp_path / "out", tmp_path / "again"
    assert train(folders, first, 6) == 0
    ended = timeless(first)[-1]["weights"]
    options = ("--from", str(first), "--loss", "mae")
    assert train(folders, out, 6, *options) == 0
    assert table(out)["initial_weights"] == ended
    assert table(out)["begun_from"] == str(first)
    assert timeless(out)[-1]["weights"] not in (ended, None)
    assert train(folders, again, 6, *options) == 0
    assert timeless(again) == timeless(out)
    # From here on the other trial is not needed.
    shutil.rmtree(first)
    assert train(folders, out, 9, *options) == 0
    assert train(folders, out, 9, "--loss", "mae") == 0
    capsys.readouterr()
    assert train(folders, out, 9, "--from", str(again), "--loss", "mae") == 2
    assert f"was begun with the weights of {first}, not with those of {again}" in capsys.readouterr().err


def test_weights_of_another_model_are_refused_with_the_options_to_give(folders, tmp_path, capsys):
    first, out = tmp_path / "first", tmp_path / "out"
    assert train(folders, first, 2, "--size", "48") == 0
    assert train(folders, out, 2, "--from", str(first)) == 2
    assert "give the options that it was trained with: --model compact --size 48" in capsys.readouterr().err
    assert not (out / "trial.toml").exists()


def compare(folders, out, losses, *options):
    command = ["compare", "--seeds", "1", *folders, *QUICK, "--losses", losses, "--out", str(out)]
    return main([*command, *options])


def written(out):
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("trials/*/metrics.jsonl")}


def test_an_added_loss_and_seed_train_only_what_is_missing(folders, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert compare(folders, out, "mse,mae") == 0
    before = written(out)
    assert compare(folders, out, "mse,mae,ssim") == 0
    after = written(out)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"ssim-seed0"}
    assert compare(folders, out, "mse,mae,ssim", "--seeds", "2") == 0
    assert {name: written(out)[name] for name in after} == after
    assert len(written(out)) == 6
    assert table(out, "comparison.toml")["losses"] == ["mse", "mae", "ssim"]
    assert table(out, "comparison.toml")["seeds"] == 2
    assert compare(folders, whole, "mse,mae,ssim", "--seeds", "2") == 0
    assert (out / "verdict.json").read_bytes() == (whole / "verdict.json").read_bytes()
    for trial in (whole / "trials").iterdir():
        assert timeless(out / "trials" / trial.name) == timeless(trial)
    capsys.readouterr()


def test_more_steps_go_on_with_every_trial(folders, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    every = ("--judge-every", "3")
    assert compare(folders, out, "mse,mae", *every) == 0
    assert compare(folders, out, "mse,mae", *every, "--steps", "9") == 0
    assert compare(folders, whole, "mse,mae", *every, "--steps", "9") == 0
    assert (out / "verdict.json").read_bytes() == (whole / "verdict.json").read_bytes()
    for trial in (whole / "trials").iterdir():
        assert timeless(out / "trials" / trial.name) == timeless(trial)
    assert compare(folders, out, "mse,mae", *every, "--steps", "6") == 2
    assert "has 9 steps, more than the 6 asked for" in capsys.readouterr().err


def test_a_comparison_whose_schedule_depends_on_its_length_gets_no_more_steps(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare(folders, out, "mse", "--schedule", "cosine") == 0
    assert compare(folders, out, "mse", "--schedule", "cosine", "--steps", "9") == 2
    assert "cannot go on to 9 steps: the schedule cosine depends on" in capsys.readouterr().err
    assert table(out, "comparison.toml")["recipe"]["steps"] == 6


def with_verdict(out, **changes):
    path = out / "verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_training_continues_with_the_winner_of_a_comparison(folders, tmp_path, capsys):
    out, won = tmp_path / "out", tmp_path / "won"
    assert compare(folders, out, "mse,mae") == 0
    with_verdict(out, winner="mae", contenders=["mae"])
    quick = ["--size", "32", "--batch-size", "2", "--steps", "3", "--preview-every", "0"]
    assert main(["train", *folders, *quick, "--from", str(out), "--out", str(won)]) == 0
    trial = out / "trials" / "mae-seed0"
    assert table(won)["loss"] == "mae"
    assert table(won)["begun_from"] == str(trial)
    assert table(won)["initial_weights"] == timeless(trial)[-1]["weights"]
    assert train(folders, tmp_path / "other", 3, "--from", str(out)) == 0
    assert table(tmp_path / "other")["loss"] == "mse"
    capsys.readouterr()


def test_an_undecided_comparison_names_its_contenders(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare(folders, out, "mse,mae") == 0
    with_verdict(out, winner=None, contenders=["mse", "mae"])
    assert train(folders, tmp_path / "won", 3, "--from", str(out)) == 2
    told = capsys.readouterr().err
    assert "is undecided between mse, mae; choose one of their trials with --from: " in told
    assert str(out / "trials" / "mae-seed0") in told
    (out / "verdict.json").write_text("{")
    assert train(folders, tmp_path / "won", 3, "--from", str(out)) == 2
    assert "is damaged" in capsys.readouterr().err
    (out / "verdict.json").unlink()
    assert train(folders, tmp_path / "won", 3, "--from", str(out)) == 2
    assert "has no verdict yet" in capsys.readouterr().err


def test_until_converged_evaluates_often_enough_and_says_so(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(folders, out, 6, "--until", "converged") == 0
    told = capsys.readouterr().out
    assert "--until converged evaluates every 1 steps" in told
    assert "needs 20 evaluations, and 6 steps with one every 1 have 6" in told
    assert table(out)["recipe"]["judge_every"] == 1
    # With more steps, the frequency of evaluations stays.
    assert train(folders, out, 8, "--until", "converged") == 0
    assert table(out)["recipe"]["judge_every"] == 1
