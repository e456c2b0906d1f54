"""Statistics and votes: what counts as a win, and what does not."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from lossarium.evidence import statistics
from lossarium.evidence.results import Score
from lossarium.evidence.statistics import Bootstrap, interval
from lossarium.evidence.verdict import decide

PSNR = Score("reconstruction/psnr", "reconstruction", "psnr", "PSNR", "dB", True, 2, "")
SSIM = Score("reconstruction/ssim", "reconstruction", "ssim", "SSIM", "", True, 3, "")
LPIPS = Score("reconstruction/lpips", "reconstruction", "lpips", "LPIPS", "", False, 3, "")
FRAMES = 40
UNITS = {"reconstruction": np.arange(FRAMES)}
HOME = {PSNR.key: ("mse",), SSIM.key: ("ssim",), LPIPS.key: ("lpips",)}


def values(mean, *, spread=1.0, seeds=1, own=0.05, seed=0):
    """Scores that share each frame's difficulty, with small independent differences."""
    difficulty = np.random.default_rng(7).normal(0, spread, FRAMES)
    return mean + difficulty + np.random.default_rng(seed).normal(0, own, (seeds, FRAMES))


def test_the_interval_of_a_mean_is_the_textbooks():
    sample = np.random.default_rng(0).normal(5, 2, (1, 200))
    estimate = Bootstrap(np.arange(200), 1).estimate(sample)
    error = 1.96 * sample.std() / np.sqrt(200)
    assert estimate.mean == pytest.approx(sample.mean())
    assert estimate.low == pytest.approx(sample.mean() - error, abs=0.03)
    assert estimate.high == pytest.approx(sample.mean() + error, abs=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say():
    source = np.random.default_rng(0)
    bootstrap = Bootstrap(np.arange(60), 1)
    means = bootstrap.means([source.normal(0, 1, (1, 60)) for _ in range(200)])
    estimates = [interval(0, resampled, 0.05) for resampled in means]
    held = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.89 <= held <= 0.99


def test_frames_in_the_same_state_are_resampled_together():
    once = np.random.default_rng(0).normal(0, 1, (1, 50))
    alone = Bootstrap(np.arange(50), 1).estimate(once)
    doubled = Bootstrap(np.tile(np.arange(50), 2), 1).estimate(np.tile(once, 2))
    assert doubled.high - doubled.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_differences_between_seeds_widen_the_interval():
    source = np.random.default_rng(0)
    luck = source.normal(0, 1, (5, 1))
    noise = source.normal(0, 0.1, (5, 40))
    bootstrap = Bootstrap(np.arange(40), 5)
    assert (e := bootstrap.estimate(luck + noise)).high - e.low > 0.5
    assert (e := bootstrap.estimate(noise)).high - e.low < 0.1


def test_a_small_difference_on_every_frame_is_seen_because_frames_are_paired():
    finals = {LPIPS.key: {"mse": values(0.3), "mae": values(0.2, seed=1)}}
    verdict = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME)
    apart = verdict.table[LPIPS.key]
    assert apart["mae"].low < apart["mse"].mean < apart["mae"].high
    assert verdict.winner == "mae"
    assert verdict.wins == {"mse": (), "mae": ("mse",)}
    assert "mae makes the best pictures" in verdict.sentence


def test_a_difference_within_chance_is_undecided():
    finals = {LPIPS.key: {"mse": values(0.3, own=0.5), "mae": values(0.3, own=0.5, seed=1)}}
    verdict = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME)
    assert verdict.winner is None
    assert verdict.contenders == ("mse", "mae")
    assert verdict.sentence == "Undecided between mse and mae."


def test_equal_results_are_undecided():
    finals = {LPIPS.key: {"mse": values(0.3), "mae": values(0.3)}}
    assert decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME).winner is None


def test_a_home_judge_is_shown_but_does_not_vote():
    finals = {
        PSNR.key: {"mse": values(30), "mae": values(20)},
        LPIPS.key: {"mse": values(0.4), "mae": values(0.1)},
    }
    verdict = decide(("mse", "mae"), (PSNR, LPIPS), finals, UNITS, HOME)
    assert verdict.home == HOME
    assert verdict.table[PSNR.key]["mse"].mean == pytest.approx(30, abs=0.5)
    psnr, lpips = verdict.votes
    assert (psnr.preferred, psnr.home_of) == (None, ("mse",))
    assert psnr.difference.low > 0
    assert lpips.preferred == "mae"
    assert verdict.winner == "mae"


def test_as_many_votes_for_as_against_is_a_tie():
    finals = {
        SSIM.key: {"mse": values(0.8), "mae": values(0.2)},
        LPIPS.key: {"mse": values(0.8), "mae": values(0.2)},
    }
    verdict = decide(("mse", "mae"), (SSIM, LPIPS), finals, UNITS, HOME)
    assert [vote.preferred for vote in verdict.votes] == ["mse", "mae"]
    assert verdict.winner is None
    assert verdict.contenders == ("mse", "mae")


def test_three_losses_with_two_at_the_top():
    finals = {LPIPS.key: {"mse": values(0.9), "mae": values(0.2), "smooth_l1": values(0.2, own=0)}}
    finals[LPIPS.key]["smooth_l1"] = finals[LPIPS.key]["mae"] + np.random.default_rng(3).normal(
        0, 0.1, FRAMES
    )
    verdict = decide(("mse", "mae", "smooth_l1"), (LPIPS,), finals, UNITS, HOME)
    assert verdict.sentence == "Undecided between mae and smooth_l1; each of them beats mse."


def test_an_unbeaten_loss_that_does_not_beat_all_does_not_win():
    # LPIPS may not vote on the third loss at all, so that nobody can beat it, nor it anybody.
    finals = {LPIPS.key: {"mse": values(0.9), "mae": values(0.2), "lpips": values(0.1)}}
    verdict = decide(("mse", "mae", "lpips"), (LPIPS,), finals, UNITS, HOME)
    assert verdict.winner is None
    assert verdict.contenders == ("mae", "lpips")


def test_more_pairs_require_more_evidence():
    finals = {LPIPS.key: {name: values(0.3, own=0.5, seed=place) for place, name in enumerate("abcd")}}
    names = {"a": "mse", "b": "mae", "c": "smooth_l1", "d": "ssim"}
    finals = {LPIPS.key: {names[key]: value for key, value in finals[LPIPS.key].items()}}
    few = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME).votes[0].difference
    many = decide(tuple(names.values()), (LPIPS,), finals, UNITS, HOME).votes[0].difference
    assert many.high - many.low > 1.2 * (few.high - few.low)


def test_the_verdicts_limits_are_stated():
    finals = {LPIPS.key: {"mse": values(0.3), "mae": values(0.2)}}
    one = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME).caveats
    assert any("One seed" in caveat for caveat in one)
    assert any("Swaps are shown but not scored" in caveat for caveat in one)
    three = {LPIPS.key: {"mse": values(0.3, seeds=3), "mae": values(0.2, seeds=3)}}
    assert not any(
        "seed" in caveat for caveat in decide(("mse", "mae"), (LPIPS,), three, UNITS, HOME).caveats
    )


def test_a_single_loss_has_nothing_to_beat():
    verdict = decide(("mse",), (LPIPS,), {LPIPS.key: {"mse": values(0.3)}}, UNITS, HOME)
    assert verdict.winner is None
    assert "alone" in verdict.sentence


def test_blocks_of_any_size_give_the_same_resamplings(monkeypatch):
    several = [values(mean, seeds=3, seed=place) for place, mean in enumerate((0.1, 0.2, 0.3, 0.2))]
    bootstrap = Bootstrap(np.tile(np.arange(FRAMES // 2), 2), 3)
    whole = bootstrap.means(several)
    monkeypatch.setattr(statistics, "_LARGEST_BLOCK", 7 * FRAMES)
    monkeypatch.setattr(statistics, "_MOST_VALUES", 1)
    for one, other in zip(whole, bootstrap.means(several), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_many_units_are_drawn_as_often_as_few(monkeypatch):
    sample = np.random.default_rng(0).normal(5, 2, (1, 200))
    few = Bootstrap(np.arange(200), 1).estimate(sample)
    monkeypatch.setattr(statistics, "_MANY_UNITS", 100)
    many = Bootstrap(np.arange(200), 1).estimate(sample)
    assert many.low == pytest.approx(few.low, abs=0.02)
    assert many.high == pytest.approx(few.high, abs=0.02)
    assert many.low != few.low


def test_equal_values_have_equal_resamplings_wherever_they_stand():
    some = [values(0.3, seed=place) for place in range(7)]
    means = Bootstrap(np.arange(FRAMES), 1).means([*some, some[0].copy(), some[3].copy()])
    assert np.array_equal(means[0], means[7])
    assert np.array_equal(means[3], means[8])


def test_the_verdict_over_50_000_frames_takes_less_than_300_megabytes():
    script = textwrap.dedent("""
        import resource
        from pathlib import Path
        import numpy as np
        from lossarium.evidence.results import Score
        from lossarium.evidence.verdict import decide

        frames, losses = 50_000, ("mse", "mae", "ssim")
        scores = tuple(Score(f"reconstruction/{name}", "reconstruction", name, name, "", True, 2, "")
                       for name in ("psnr", "lpips"))
        source = np.random.default_rng(0)
        difficulty = source.normal(0, 1, frames)
        finals = {score.key: {loss: place + difficulty + source.normal(0, 1, (2, frames))
                              for place, loss in enumerate(losses)} for score in scores}
        verdict = decide(losses, scores, finals, {"reconstruction": np.arange(frames)},
                         {score.key: () for score in scores})
        # On Linux ru_maxrss of a new process includes the peak of the one that started it.
        status = Path("/proc/self/status")
        if status.exists():
            peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(verdict.winner, peak)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    winner, peak = done.stdout.split()
    assert winner == "ssim"
    assert int(peak) < 300e6


def test_values_that_are_nan_are_named_and_do_not_vote():
    broken = values(0.1)
    broken[0, :2] = np.nan, np.inf
    finals = {
        LPIPS.key: {"mse": broken, "mae": values(0.2), "smooth_l1": values(0.9)},
        SSIM.key: {"mse": values(0.9), "mae": values(0.2), "smooth_l1": values(0.1)},
    }
    verdict = decide(("mse", "mae", "smooth_l1"), (LPIPS, SSIM), finals, UNITS, HOME)
    told = "LPIPS of reconstruction is NaN or infinity for 2 of 40 pictures of mse, so it has no vote on mse."
    assert verdict.troubles == (told,)
    assert verdict.sentence.endswith("But there was trouble with mse: this verdict rests on unequal trials.")
    lpips = {(vote.first, vote.second): vote.preferred for vote in verdict.votes if vote.score == LPIPS.key}
    assert lpips == {("mse", "mae"): None, ("mse", "smooth_l1"): None, ("mae", "smooth_l1"): "mae"}


def test_troubles_of_trials_are_in_the_verdict_and_in_its_sentence():
    finals = {LPIPS.key: {"mse": values(0.3), "mae": values(0.2, seed=1)}}
    troubles = {"mse": ("mse exploded.", "mse skipped 3 steps."), "mae": ()}
    verdict = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME, troubles)
    assert verdict.troubles == ("mse exploded.", "mse skipped 3 steps.")
    assert re.fullmatch(
        r"mae makes the best pictures: .* But there was trouble with mse: .*", verdict.sentence
    )
    even = decide(("mse", "mae"), (LPIPS,), finals, UNITS, HOME, {"mse": (), "mae": ()})
    assert even.troubles == ()
    assert "But" not in even.sentence
