"""The outcome of a comparison: troubles of trials reach the verdict, and memory stays bounded."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from lossarium.cli.verdict_table import print_verdict
from lossarium.comparison import outcome
from lossarium.comparison.plan import Plan
from lossarium.comparison.protocol import compare
from lossarium.facesets.batches.batch import Batches
from lossarium.judging.judges import judges_of
from lossarium.report import render
from lossarium.training import records
from lossarium.training.configuration import FULL_EVALUATIONS, Recipe, Trial
from tests.facesets.examples import blobs

PAIR = (blobs("ada", states=True), blobs("ben", seed=5, states=True))
RECIPE = Recipe(steps=12, size=32, batch_size=2, snapshots=2)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two losses; the first exploded and was rolled back, the second skipped one step."""
    right = Batches.__call__
    # The batches at which a trial meets NaN, once each. The comparison itself looks at the first batch.
    meets = [6, 7, 8, 9, 10, 4]

    def wrong(self, number):
        batch = right(self, number)
        if meets and number == meets[0] and (len(meets) > 1 or trial_number == 2):
            meets.pop(0)
            batch.target[0, 0, 0, 0, 0] = torch.nan
        return batch

    trial_number = 0

    def watch(progress):
        nonlocal trial_number
        trial_number = progress.number

    out = tmp_path_factory.mktemp("troubled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "__call__", wrong)
        result = compare(Plan(("mse", "mae"), 1, RECIPE), PAIR, out, watch=watch)
    assert not meets
    return result, out


WENT_BACK = (
    "The loss of mse (seed 0) exploded: it was rolled back to an earlier checkpoint once, "
    "and went on with 0.5 of the learning rate."
)
PASSED_OVER = "mae (seed 0) skipped 1 step of 12: the loss or its gradient was NaN or infinity."


def test_explosions_and_skipped_steps_are_in_the_verdict(results):
    result, out = results
    assert result.troubles == (WENT_BACK, PASSED_OVER)
    assert "But there was trouble with mse and mae" in result.verdict.sentence
    written = json.loads((out / "verdict.json").read_text())
    assert written["troubles"] == [WENT_BACK, PASSED_OVER]
    assert written["sentence"] == result.verdict.sentence


def test_a_margin_of_the_plan_replaces_the_judges_own():
    margins = {
        score.key: score.margin for score in outcome._scores((), judges_of(("psnr", "ssim")), {"psnr": 9})
    }
    assert margins == {"reconstruction/psnr": 9, "reconstruction/ssim": 0.005}


def test_the_terminal_names_the_troubled_trials(results, capsys):
    print_verdict(results[0])
    printed = " ".join(capsys.readouterr().out.split())
    assert WENT_BACK in printed
    assert PASSED_OVER in printed


def test_the_report_names_them_beside_the_verdict_and_on_the_even_keel(results):
    page = render(results[0])
    assert page.count(WENT_BACK) == 2
    assert page.count(PASSED_OVER) == 2


def test_a_sample_is_judged_during_training_and_everything_at_the_end(tmp_path):
    recipe = replace(RECIPE, steps=5, judge_every=1, judged_frames=4)
    result = compare(Plan(("mse", "mae"), 1, recipe), PAIR, tmp_path, watch=lambda _: None)
    places = []
    for trial in result.trials:
        rows = [row for row in records.read(tmp_path / "trials" / trial.name) if "held_out" in row]
        assert [row["judged"] for row in rows] == ["sample"] * 2 + ["all"] * 3
        assert {len(values) for row in rows[:2] for values in row["held_out"].values()} == {4}
        places += [row["sample"] for row in rows]
        # Curves are means of the sample, at the last evaluations too.
        for row, snapshot in zip(rows, trial.snapshots, strict=True):
            for key, values in records.sampled_scores(row).items():
                assert len(values) == 4
                assert snapshot.mean(key) == pytest.approx(np.mean(values), rel=1e-12)
        assert [len(snapshot.scores["swap/psnr"]) for snapshot in trial.snapshots] == [1, 1, 10, 10, 10]
    # The sample is the same for all trials and evaluations.
    assert len(places) == 10
    assert all(one == places[0] for one in places)
    assert len(places[0]["reconstruction"]) == 4
    # The verdict rests on all pictures.
    whole = np.mean([snapshot.scores["reconstruction/psnr"] for snapshot in result.trials[0].snapshots[-3:]])
    assert result.verdict.values["reconstruction/psnr"]["mse"].mean == pytest.approx(whole, rel=1e-12)


def test_snapshots_before_the_last_three_keep_means(tmp_path):
    recipe = replace(RECIPE, steps=5, judge_every=1)
    result = compare(Plan(("mse", "mae"), 1, recipe), PAIR, tmp_path, watch=lambda _: None)
    for trial in result.trials:
        assert [len(one.scores["reconstruction/psnr"]) for one in trial.snapshots] == [1, 1, 10, 10, 10]


def test_reading_a_trial_holds_the_scores_of_three_snapshots_at_a_time(tmp_path, monkeypatch):
    frames, moments = 50_000, 6
    keys = ("reconstruction/psnr", "reconstruction/lpips")
    values = np.random.default_rng(0).random(frames).tolist()
    opened = records.Records(tmp_path, 0)
    for step in range(1, moments + 1):
        opened.write({"step": step, "seconds": 1.0, "held_out": dict.fromkeys(keys, values)})
        opened.flush()
    opened.write({"step": moments, "seconds": 1.0, "finished": True, "weights": ""})
    opened.close()
    (tmp_path / "trial.toml").write_text('initial_weights = ""')
    nothing = np.zeros((0, 32, 32, 3), np.uint8)
    monkeypatch.setattr(outcome, "load_previews", lambda *_: (nothing, nothing))
    tracemalloc.start()
    result = outcome._trial_result(Trial("mse", 0, RECIPE), tmp_path, 0, [])
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    lengths = [len(snapshot.scores[keys[0]]) for snapshot in result.snapshots]
    assert lengths == [1] * (moments - FULL_EVALUATIONS) + [frames] * FULL_EVALUATIONS
    # The last snapshots' numbers as arrays; while a row is read, its text and a Python float for each
    # number.
    of_one_moment = len(keys) * frames
    assert kept < 1.2 * 8 * FULL_EVALUATIONS * of_one_moment + 200_000
    assert peak < (150 + 8 * (FULL_EVALUATIONS - 1)) * of_one_moment


def test_the_settings_tell_the_frames_and_whatever_is_unusual():
    settings = outcome._settings(Plan(("mse",), 3, RECIPE), PAIR)
    assert settings["Steps"] == "12"
    assert settings["Seeds"] == "3"
    assert settings["Batch"] == "2 of each identity"
    assert settings["Frames of ada"] == "15 trained on, 5 held out"
    assert settings["Frames of ben"] == "15 trained on, 5 held out"
    runs = replace(PAIR[0], states=None, held_out=np.arange(20) // 3 % 3 == 1, left_out=np.arange(20) == 2)
    assert outcome._settings(Plan(("mse",), 3, RECIPE), (runs, PAIR[1]))["Frames of ada"] == (
        "13 trained on, 6 held out in 2 blocks, 1 left out beside them"
    )
    assert not {"Clipping", "Accumulation", "What pixels count"} & set(settings)
    unusual = replace(
        RECIPE,
        steps=12000,
        clipping="norm(1)",
        accumulation=2,
        eye_multiplier=3.0,
        mask="extended",
        mask_loss=True,
    )
    settings = outcome._settings(Plan(("mse",), 3, unusual), PAIR)
    assert settings["Steps"] == "12,000"
    assert settings["Clipping"] == "norm(1)"
    assert settings["Accumulation"] == "2 batches a step"
    assert settings["What pixels count"] == "the eyes 3 times, nothing outside the mask extended"


def test_a_trials_value_is_the_mean_of_its_full_evaluations_at_the_end(results):
    trial = results[0].trials[0]
    last = trial.snapshots[-1]
    key = "reconstruction/psnr"
    values = [np.full(10, value) for value in (90.0, 1.0, 2.0, 6.0)]
    snapshots = tuple(replace(last, scores={key: one}) for one in values)
    assert outcome._at_the_end(replace(trial, snapshots=snapshots), key).tolist() == [3.0] * 10
    sampled = (replace(last, scores={key: np.full(4, 50.0)}), *snapshots[2:])
    assert outcome._at_the_end(replace(trial, snapshots=sampled), key).tolist() == [4.0] * 10
    assert outcome._at_the_end(replace(trial, snapshots=snapshots[-1:]), key).tolist() == [6.0] * 10
