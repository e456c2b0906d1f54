"""What may be claimed of losses, and what may not."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest

from lossarium.errors import LossariumError
from lossarium.evidence import decide
from lossarium.evidence.writing import as_json
from tests.evidence.comparisons import luck, real, shifted

UP = {"psnr": True}
LOSSES = ["mse", "ssim", "mae"]


def relation(verdict, first, second):
    """What the verdict says of the first loss of a pair."""
    pair = next(pair for pair in verdict.pairs if {pair.first, pair.second} == {first, second})
    if pair.relation in ("first", "second"):
        return "better" if (pair.relation == "first") == (pair.first == first) else "worse"
    return pair.relation


def test_a_large_difference_wins_and_a_small_one_is_no_more_than_luck():
    verdict = decide({"psnr": shifted(luck(), 0, 0.05, 5)}, LOSSES, higher_is_better=UP)
    assert verdict.winner == "mae"
    assert verdict.better == {("mae", "mse"), ("mae", "ssim")}
    assert verdict.unresolved == {("mse", "ssim")}
    assert verdict.sentence == "mae makes the best pictures: it beats mse and ssim."


def test_where_lower_is_better_the_lowest_wins():
    verdict = decide({"lpips": shifted(luck(), 0, 0, 5)}, LOSSES, higher_is_better={"lpips": False})
    assert verdict.better == {("mse", "mae"), ("ssim", "mae")}
    assert verdict.winner is None
    assert verdict.contenders == ("mse", "ssim")


def test_better_here_and_worse_there_is_a_trade_off_with_both_figures():
    scores = {"psnr": shifted(luck(), 0, 6, -9), "lpips": shifted(luck(seed=1), 0, 7, 9)}
    verdict = decide(scores, LOSSES, higher_is_better={"psnr": True, "lpips": False})
    assert verdict.trade_offs == {("mse", "ssim")}
    assert verdict.better == {("mse", "mae"), ("ssim", "mae")}
    assert verdict.winner is None
    difference = {score: abs(float((values[1] - values[0]).mean())) for score, values in scores.items()}
    assert f"worse in psnr by {difference['psnr']:.3g}" in verdict.sentence
    assert f"better than ssim in lpips by {difference['lpips']:.3g}" in verdict.sentence
    assert verdict.sentence.endswith("Each of them beats mae.")


def test_what_lies_within_the_margin_is_equivalent_and_a_winner_may_equal_others():
    scores = {"psnr": shifted(luck(trial=0.01, frames=400), 5, 5, 0)}
    margins = {"psnr": 1.0}
    verdict = decide(scores, LOSSES, higher_is_better=UP, margins=margins)
    assert verdict.equivalent == {("mse", "ssim")}
    assert verdict.winner is None  # both beat or equal all others: there is no single best
    assert "mse and ssim are alike" in verdict.sentence
    more = {**scores, "ssim": shifted(luck(trial=0.01, frames=400, seed=1), 5, 9, 0)}
    verdict = decide(more, LOSSES, higher_is_better={"psnr": True, "ssim": True}, margins=margins)
    assert verdict.winner == "ssim"


def test_a_difference_beyond_luck_but_within_the_margin_beats_nobody():
    scores = {"psnr": shifted(luck(trial=0.01, frames=400), 0, 0.5, 0.5)}
    assert ("ssim", "mse") in decide(scores, LOSSES, higher_is_better=UP).better
    within = decide(scores, LOSSES, higher_is_better=UP, margins={"psnr": 2.0})
    assert not within.better
    assert len(within.equivalent) == 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_claim_nothing_however_large_the_difference(seeds):
    verdict = decide({"psnr": shifted(luck(seeds=seeds), 0, 0, 100)}, LOSSES, higher_is_better=UP)
    assert verdict.winner is None
    assert not verdict.better
    assert not verdict.equivalent
    assert verdict.critical is None
    assert len(verdict.unresolved) == 3
    assert "mae scored higher than the others on these frames" in verdict.sentence
    assert "3 seeds at least" in verdict.sentence
    assert all(one.interval is None for pair in verdict.pairs for one in pair.differences)


def test_pictures_can_be_judged_with_one_seed_and_are_not_by_the_luck_of_training():
    scores = {"psnr": shifted(luck(seeds=1, frames=200), 0, 0, 1)}
    verdict = decide(scores, LOSSES, higher_is_better=UP, about="pictures")
    assert ("mae", "mse") in verdict.better
    assert any("these pictures" in caveat for caveat in verdict.caveats)


def test_a_home_judge_has_no_vote_and_a_pair_without_judges_says_so():
    scores = {"psnr": shifted(luck(), 0, 0, 5), "ssim": shifted(luck(seed=1), 0, 5, 0)}
    up = {"psnr": True, "ssim": True}
    verdict = decide(scores, LOSSES, higher_is_better=up, home={"psnr": ["mae"], "ssim": ["ssim", "mae"]})
    assert relation(verdict, "mae", "mse") == "unjudged"
    assert relation(verdict, "ssim", "mae") == "unjudged"
    assert relation(verdict, "mse", "ssim") == "unresolved"
    assert ("mae", "ssim") in verdict.unresolved
    assert sum("none may vote" in caveat for caveat in verdict.caveats) == 2


def test_an_exact_copy_of_a_score_changes_nothing():
    scores, losses, options = real("demo_five_losses_300_steps")
    verdict = decide(scores, losses, **options)
    first = next(iter(scores))
    for name in ("a copy", "zz copy"):
        copied = {name: scores[first].copy(), **scores}
        directions = {**options["higher_is_better"], name: options["higher_is_better"][first]}
        margins = {**options["margins"], name: options["margins"][first]}
        again = decide(copied, losses, **{**options, "higher_is_better": directions, "margins": margins})
        assert again.critical == verdict.critical
        assert again.better == verdict.better
        assert again.trade_offs == verdict.trade_offs
        assert again.winner == verdict.winner


@pytest.mark.parametrize("name", ["demo_five_losses_300_steps", "ssim_twice_1000_steps"])
def test_the_order_of_losses_seeds_and_frames_changes_nothing(name):
    scores, losses, options = real(name)
    verdict = decide(scores, losses, **options)
    source = np.random.default_rng(0)
    for _ in range(3):
        by_loss, by_seed, by_frame = (source.permutation(n) for n in next(iter(scores.values())).shape)
        turned = {
            score: values[by_loss][:, by_seed][:, :, by_frame]
            for score, values in sorted(scores.items(), key=lambda _: source.random())
        }
        again = decide(
            turned,
            [losses[place] for place in by_loss],
            **{**options, "blocks": options["blocks"][by_frame]},
        )
        for what in ("better", "equivalent", "trade_offs", "unresolved", "winner"):
            assert getattr(again, what) == getattr(verdict, what)
        assert again.critical == pytest.approx(verdict.critical, rel=1e-9)


def test_nothing_is_claimed_of_one_loss_under_five_names():
    scores, losses, options = real("one_loss_five_names_150_steps")
    for some in itertools.combinations(range(len(losses)), 5):
        verdict = decide(
            {score: values[list(some)] for score, values in scores.items()},
            [losses[place] for place in some],
            **options,
        )
        claims = [
            one for pair in verdict.pairs for one in pair.differences if one.finding in ("first", "second")
        ]
        assert not claims
        assert verdict.winner is None


def test_losses_that_are_the_same_to_the_bit_are_equivalent():
    values = luck(losses=2)
    verdict = decide({"psnr": np.stack([values[0]] * 2)}, ["mse", "2*mse"], higher_is_better=UP)
    assert verdict.equivalent == {("2*mse", "mse")}


def test_a_missing_trial_costs_certainty_and_nothing_else():
    whole = shifted(luck(seeds=6), 0, 0, 5)
    missing = whole.copy()
    missing[2, 0] = missing[0, 4] = np.nan
    verdict = decide({"psnr": missing}, LOSSES, higher_is_better=UP)
    assert verdict.winner == "mae"
    pair = next(pair for pair in verdict.pairs if {pair.first, pair.second} == {"mse", "mae"})
    both = [1, 2, 3, 5]
    expected = float((whole[0, both] - whole[2, both]).mean())
    sign = 1 if pair.first == "mse" else -1
    # Means of 160 numbers below 10.
    assert sign * pair.differences[0].mean == pytest.approx(expected, abs=1e-12)


def test_a_pair_with_two_seeds_in_common_is_not_resolved():
    values = shifted(luck(seeds=5), 0, 0, 50)
    values[2, 2:] = np.nan
    verdict = decide({"psnr": values}, LOSSES, higher_is_better=UP)
    assert relation(verdict, "mae", "mse") == relation(verdict, "mae", "ssim") == "unresolved"
    assert verdict.critical is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_with_a_figure_that_is_none_is_not_judged_by_its_other_trials(value):
    values = shifted(luck(), 0, 0, 50)
    values[2, 1, 7] = value
    verdict = decide({"psnr": values}, LOSSES, higher_is_better=UP)
    assert relation(verdict, "mae", "mse") == relation(verdict, "mae", "ssim") == "unresolved"
    assert verdict.winner is None
    assert any("psnr" in caveat and "mae" in caveat for caveat in verdict.caveats)


def test_frames_of_a_block_count_once():
    """A loss that suits a few blocks of frames is not better because there are many frames of each."""
    source = np.random.default_rng(3)
    blocks = np.repeat(np.arange(4), 100)
    taste = source.normal(0, 1, (3, 1, 4))[:, :, blocks]
    values = luck(frames=400, trial=0.01) + taste
    apart = decide({"psnr": values}, LOSSES, higher_is_better=UP)
    together = decide({"psnr": values}, LOSSES, higher_is_better=UP, blocks=blocks)
    width = [
        v.pairs[0].differences[0].interval.high - v.pairs[0].differences[0].mean for v in (apart, together)
    ]
    assert width[1] > 4 * width[0]
    assert any("4 independent blocks" in caveat for caveat in together.caveats)


def test_blocks_weigh_alike_however_many_frames_they_have():
    values = np.zeros((2, 3, 11))
    values[0, :, 10] = 1
    blocks = [0] * 10 + [1]
    verdict = decide({"psnr": values}, ["mse", "mae"], higher_is_better=UP, blocks=blocks)
    assert abs(verdict.pairs[0].differences[0].mean) == 0.5
    assert verdict.values["psnr"]["mse"].mean == 0.5


def test_scores_of_different_frames_have_blocks_of_their_own():
    scores = {"reconstruction": shifted(luck(frames=30), 0, 0, 5), "swap": luck(frames=20, seed=1)}
    verdict = decide(
        scores,
        LOSSES,
        higher_is_better=dict.fromkeys(scores, True),
        blocks={"reconstruction": np.arange(30) // 2, "swap": np.arange(20) // 4},
    )
    assert verdict.winner == "mae"


def test_more_seeds_that_would_resolve_a_pair_do():
    values = shifted(luck(losses=2, seeds=60, seed=2), 0, 0.5)
    few = decide({"psnr": values[:, :4]}, ["mse", "mae"], higher_is_better=UP)
    further = few.pairs[0].further_seeds
    assert few.unresolved
    assert further is not None
    assert decide({"psnr": values[:, : 4 + 3 * further]}, ["mse", "mae"], higher_is_better=UP).better


def test_the_json_has_pairs_as_lists_and_no_nan():
    values = shifted(luck(), 0, 0, 5)
    values[0, 0, 0] = np.nan
    verdict = decide({"psnr": values}, LOSSES, higher_is_better=UP)
    table = json.loads(json.dumps(as_json(verdict), allow_nan=False))
    assert table["winner"] is None
    assert table["better"] == [["mae", "ssim"]]
    assert table["values"]["psnr"]["mse"]["mean"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": {}}, "nothing to decide on"),
        ({"losses": ["mse", "mse", "mae"]}, "named twice"),
        ({"losses": ["mse", "mae"]}, "for 2 losses"),
        ({"scores": {"psnr": np.zeros((3, 5))}}, r"shape \(3, 5\)"),
        ({"higher_is_better": {}}, "whether a higher psnr is better"),
        ({"margins": {"psnr": -1}}, "margin of psnr"),
        ({"margins": {"ssim": 1}}, "no score ssim"),
        ({"home": {"ssim": ["mse"]}}, "no score ssim"),
        ({"level": 0}, "level"),
        ({"blocks": [1, 2]}, "2 labels for 40 frames"),
    ],
)
def test_what_does_not_fit_is_named(changes, words):
    arguments = {"scores": {"psnr": luck()}, "losses": LOSSES, "higher_is_better": UP, **changes}
    with pytest.raises(LossariumError, match=words):
        decide(arguments.pop("scores"), arguments.pop("losses"), **arguments)


def test_one_loss_alone_is_compared_with_nothing():
    verdict = decide({"psnr": luck(losses=1)}, ["mse"], higher_is_better=UP)
    assert verdict.winner is None
    assert "stands alone" in verdict.sentence


def test_methods_are_judged_as_losses_are_in_their_own_words():
    scores = {"psnr": shifted(luck(), 0, 0.05, 0.1)}
    losses = decide(scores, LOSSES, higher_is_better=UP)
    methods = decide(scores, LOSSES, higher_is_better=UP, about="methods")
    assert methods.pairs == losses.pairs
    assert "seed" in losses.sentence
    assert methods.sentence == losses.sentence.replace("seed", "run")
    few = decide({"psnr": shifted(luck()[:, :2], 0, 0.05, 5)}, LOSSES, higher_is_better=UP, about="methods")
    assert few.winner is None
    assert not few.better
    assert few.sentence.startswith("No verdict yet: no two methods have 3 runs each")


def test_pictures_that_cannot_be_told_apart_say_about_how_many_more_would_tell():
    scores = {"psnr": shifted(luck(trial=0)[:, :1], 0, 0.1, 0)}
    verdict = decide(scores, LOSSES, higher_is_better=UP, about="pictures")
    assert verdict.winner is None
    assert "the choice of pictures could have made" in verdict.sentence
    assert "seed" not in verdict.sentence
    more = [pair.further_seeds for pair in verdict.pairs if pair.has("ssim")]
    assert any(more)
    assert "more blocks of pictures would tell" in verdict.sentence


def test_a_thousand_independent_pictures_of_eight_methods_take_little_memory():
    names = [f"m{number}" for number in range(8)]
    values = np.random.default_rng(0).normal(size=(8, 1, 1000)) + np.arange(8)[:, None, None] % 2
    tracemalloc.start()
    verdict = decide({"psnr": values}, names, higher_is_better=UP, about="pictures")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(verdict.better) == 16
    assert peak < 300e6  # the square of 8,000 numbers takes 512 MB


def test_a_verdict_on_50_000_frames_or_20_000_pictures_takes_little_memory():
    scores = {"psnr": luck(losses=3, seeds=3, frames=50_000)}
    pictures = {"psnr": luck(losses=4, seeds=1, frames=20_000)}
    tracemalloc.start()
    decide(scores, LOSSES, higher_is_better=UP)
    decide(pictures, [*LOSSES, "lpips"], higher_is_better=UP, about="pictures")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
