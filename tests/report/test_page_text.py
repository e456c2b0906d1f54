"""The page without a browser: its text, its escaping, and that it needs no other file."""

import html
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossarium.comparison.results import ComparisonResult
from lossarium.errors import LossariumError
from lossarium.evidence.results import TrialValues
from lossarium.report import render, write
from tests.report.example import LOSSES, example_result, uneven

ATTACK = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def example() -> ComparisonResult:
    return example_result()


@pytest.fixture(scope="module")
def page(example: ComparisonResult) -> str:
    return render(example)


def readable(page: str) -> str:
    """The page's static text, without its scripts, styles and tags."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"</(td|th|p|li|dt|dd)>|<h\d", " ", text)))
    return re.sub(r"\s+", " ", text)


def page_data(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_the_verdict_and_its_caveats_are_text(page: str, example: ComparisonResult) -> None:
    text = readable(page)
    assert example.verdict.sentence in text
    assert all(caveat in text for caveat in example.verdict.caveats)
    assert "Undecided" in text
    assert 'class="verdict undecided"' in page
    assert 'class="verdict decided"' in render(example_result(decided=True))


def test_every_loss_has_every_score_with_the_range_of_its_trials(
    page: str, example: ComparisonResult
) -> None:
    text = readable(page)
    for score in example.scores:
        assert score.title in text
        assert score.description in text
        for loss in example.losses:
            assert loss in text
            values = example.verdict.values[score.key][loss]
            low, high = (f"{number:.{score.digits}f}" for number in (values.lowest, values.highest))
            assert f"{values.mean:.{score.digits}f}" in text
            assert (low if low == high else f"{low} to {high}") in text


def test_every_pair_has_every_difference_with_its_interval(page: str, example: ComparisonResult) -> None:
    text = readable(page).replace("\N{MINUS SIGN}", "-")
    digits = {score.key: score.digits for score in example.scores}
    for pair in example.verdict.pairs:
        for one in pair.differences:
            low, high = (f"{n:.{digits[one.score]}f}" for n in (one.interval.low, one.interval.high))
            assert f"[{low}, {high}]".replace("-0.000", "0.000") in text


def test_the_matrix_says_what_the_verdict_says(example: ComparisonResult) -> None:
    words = {"equivalent": "alike", "trade-off": "trade-off", "unresolved": "open", "unjudged": "no judge"}
    for relation, word in words.items():
        pair = replace(example.verdict.pairs[0], relation=relation)
        verdict = replace(example.verdict, pairs=(pair, *example.verdict.pairs[1:]))
        cells = re.findall(
            r'<td class="([a-z-]+)">([a-z -]+)</td>', render(replace(example, verdict=verdict))
        )
        assert cells.count((relation, word)) == 2 + 2 * sum(
            pair.relation == relation for pair in verdict.pairs[1:]
        )
        assert cells.count(("beats", "beats")) == cells.count(("loses", "loses")) > 0


def test_what_would_resolve_a_pair_is_told_with_its_cost(example: ComparisonResult) -> None:
    pair = replace(example.verdict.pairs[0], relation="unresolved", further_seeds=4)
    trials = tuple(replace(trial, seconds=60.0) for trial in example.trials)
    verdict = replace(example.verdict, pairs=(pair, *example.verdict.pairs[1:]))
    text = readable(render(replace(example, verdict=verdict, trials=trials)))
    assert "about 4 more seeds would resolve it (20 minutes of training for all losses)" in text


def test_a_home_judge_is_shown_but_marked_and_best_of_those_with_a_vote_never() -> None:
    result = example_result(losses=("ssim", "mse", "mae"))
    values = {key: dict(of_losses) for key, of_losses in result.verdict.values.items()}
    values["reconstruction/ssim"]["ssim"] = TrialValues(0.999, 0.998, 1.0)
    page = render(replace(result, verdict=replace(result.verdict, values=values)))
    cell = re.search(r'<td class="([^"]*)"[^>]*><span class="value">0\.999', page)
    assert cell is not None
    assert set(cell[1].split()) & {"home", "best", "best-of-all"} == {"home", "best-of-all"}
    assert page.count("home judge of ssim, without a vote on it: its gradient points the same way") >= 1
    assert "home judge of ssim (cosine 0.98)" in page


def test_names_from_outside_are_never_markup() -> None:
    result = example_result(losses=(ATTACK, "mse"), identities=(ATTACK, "ben & 'co'"), rows=2, moments=1)
    result = replace(result, notes=(ATTACK,), settings={ATTACK: ATTACK}, environment={ATTACK: ATTACK})
    page = render(result)
    assert "<img src=x" not in page
    assert ATTACK in readable(page)
    data = page_data(page)
    assert data["losses"][0]["spec"] == ATTACK  # type: ignore[index]
    assert page.count("</script>") == 4


def test_the_page_loads_nothing(page: str) -> None:
    without_uplot = page.replace("/*! https://github.com/leeoniya/uPlot (v1.6.32) */", "")
    assert not re.findall(r"https?://", without_uplot.replace("http://www.w3.org/2000/svg", ""))
    loads = re.findall(r"""(?:src|href|srcset|action|poster|data)=["']([^"']*)""", without_uplot)
    assert loads
    assert all(target.startswith(("data:", "#")) for target in loads), loads
    assert all(target.startswith("data:") for target in re.findall(r"url\(\s*[\"']?([^)]*)", page))
    assert not re.search(r"<link(?![^>]*data:)|@import|<iframe|<object|<embed|<base", page)
    assert "default-src &#39;none&#39;" in page


def test_the_licence_of_uplot_comes_along(page: str) -> None:
    assert "Copyright (c) 2022 Leon Sorokin" in page


def test_an_even_keel_is_stated_with_its_hashes(page: str, example: ComparisonResult) -> None:
    text = readable(page)
    trial = example.trials[0]
    assert "All trials ran on an even keel." in text
    assert "Not on an even keel" not in text
    assert trial.initial_weights[:12] in text
    assert trial.batches[:12] in text
    assert trial.final_weights in page


def test_a_trial_that_was_rolled_back_is_not_on_an_even_keel(example: ComparisonResult) -> None:
    first, *others = example.trials
    text = readable(
        render(replace(example, trials=(replace(first, rollbacks=2, learning_rate_factor=0.25), *others)))
    )
    assert "Not on an even keel" in text
    assert f"The loss of {first.loss} (seed {first.seed}) exploded" in text
    assert "an earlier checkpoint 2 times, and went on with 0.25 of the learning rate" in text


def test_a_trial_that_skipped_steps_is_not_on_an_even_keel(example: ComparisonResult) -> None:
    first, *others = example.trials
    text = readable(render(replace(example, trials=(replace(first, skipped_steps=3), *others))))
    assert "Not on an even keel" in text
    assert f"{first.loss} (seed {first.seed}) skipped 3 steps of 500" in text


def test_troubles_are_shown_beside_the_verdict(example: ComparisonResult) -> None:
    page = render(replace(example, troubles=("mse <b>exploded</b>.",)))
    verdict = page[page.index('id="verdict"') : page.index('id="scores"')]
    assert "mse &lt;b&gt;exploded&lt;/b&gt;." in verdict
    assert "troubles" not in render(example).split("<main")[-1]


def test_a_comparison_that_is_not_on_an_even_keel_says_so_beside_the_verdict(
    example: ComparisonResult,
) -> None:
    text = readable(render(uneven(example)))
    assert text.count("Not on an even keel") == 2
    assert "All trials ran on an even keel" not in text
    assert f"did not start from the same weights: {example.trials[-1].initial_weights[:12]} for 4 of" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batches": "0" * 64}, "did not see the same batches"),
        ({"initial_weights": ""}, "no hash recorded"),
        ({"steps": 499}, "did not make equally many steps: 500 for 4 of the losses; 499 for"),
        ({"loss": "another"}, f"No trial was made with {LOSSES[-1]}."),
    ],
)
def test_every_difference_is_named(example: ComparisonResult, changes: dict[str, object], words: str) -> None:
    spoilt = replace(example.trials[-1], **changes)  # type: ignore[arg-type]
    text = readable(render(replace(example, trials=(*example.trials[:-1], spoilt))))
    assert words in text
    assert "Not on an even keel" in text


def test_missing_hashes_prove_nothing(example: ComparisonResult) -> None:
    trials = tuple(replace(trial, batches="") for trial in example.trials)
    assert "Not on an even keel" in readable(render(replace(example, trials=trials)))


def test_without_exact_swaps_the_swaps_are_not_scored() -> None:
    page = render(example_result(exact_swaps=False))
    assert "swaps are shown below but not scored" in readable(page)
    assert [row["exactSwap"] for row in page_data(page)["rows"]] == [False] * 4  # type: ignore[attr-defined]


def test_curves_are_means_over_pictures_and_seeds_and_ignore_nan() -> None:
    result = example_result(losses=("mse", "mae"), seeds=2, moments=2, rows=1)
    key = "reconstruction/psnr"
    result.trials[0].snapshots[0].scores[key][:] = np.nan
    result.trials[0].snapshots[1].scores[key][:] = [10.0, np.nan] * 12
    result.trials[2].snapshots[0].scores[key][:] = 5.0
    result.trials[2].snapshots[1].scores[key][:] = 20.0
    score = next(score for score in page_data(render(result))["scores"] if score["key"] == key)  # type: ignore[attr-defined]
    curve = score["curves"][0]
    assert curve["mean"] == [5.0, 15.0]
    assert curve["low"] == [5.0, 10.0]
    assert curve["high"] == [5.0, 20.0]
    assert curve["steps"] == [250.0, 500.0]


def test_nan_is_shown_as_a_dash_and_infinity_as_infinity(example: ComparisonResult) -> None:
    values = {key: dict(of_losses) for key, of_losses in example.verdict.values.items()}
    values["swap/psnr"]["mse"] = TrialValues(np.nan, np.nan, np.nan)
    values["swap/psnr"]["mae"] = TrialValues(np.inf, 40.0, np.inf)
    del values["swap/lpips"]
    text = readable(render(replace(example, verdict=replace(example.verdict, values=values))))
    assert "40.00 to ∞" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    "changes",
    [{"preview_rows": ()}, {"scores": ()}, {"trials": ()}, {"settings": {}, "environment": {}, "notes": ()}],
)
def test_a_comparison_that_lacks_something_still_has_a_page(
    example: ComparisonResult, changes: dict[str, object]
) -> None:
    assert example.verdict.sentence in readable(render(replace(example, **changes)))  # type: ignore[arg-type]


def test_the_footer_says_synthetic_only_if_the_settings_do(example: ComparisonResult) -> None:
    assert "Faces: synthetic pair" in page_foot(render(example))
    assert "synthetic" not in page_foot(render(replace(example, settings={"Faces": "2 folders"})))
    assert "Only compare faces whose owners agree." in page_foot(render(example))


def page_foot(page: str) -> str:
    return readable(page[page.index("<footer") : page.index("</footer>")])


def test_write_leaves_one_readable_file(tmp_path: Path, example: ComparisonResult) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write(example, path)
    assert path.read_text("utf-8") == render(example)
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_write_survives_a_folder_name_that_is_no_utf_8(tmp_path: Path) -> None:
    write(example_result(identities=("ad\udce4", "ben"), rows=1, moments=1), tmp_path / "report.html")
    assert "ad?" in (tmp_path / "report.html").read_text("utf-8")


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, example: ComparisonResult) -> None:
    with pytest.raises(LossariumError, match=r"cannot be written to .*nowhere"):
        write(example, tmp_path / "nowhere" / "report.html")
