"""The report: one HTML file that contains everything it shows and makes no network requests."""

import math
from pathlib import Path
from typing import Any

from lossarium.comparison.results import ComparisonResult, TrialResult
from lossarium.report import fairness, views
from lossarium.report.curves import curve_of
from lossarium.report.formatting import format_seconds, format_value
from lossarium.report.page import page, write_page
from lossarium.report.palette import colour_of
from lossarium.report.pictures import ERROR_COLOURS, ERROR_SCALE, data_uri, sprites_of, truth_sprite
from lossarium.training.configuration import FULL_EVALUATIONS


def render(result: ComparisonResult) -> str:
    """The whole page as text. Verdict and tables are plain HTML; curves and pictures need JavaScript."""
    sprites, exact = sprites_of(result) if result.preview_rows else ([], True)
    marks = views.loss_marks(result)
    by_seed = fairness.fairness_of(result)
    seconds = sum(trial.seconds for trial in result.trials)
    seeds = sorted({trial.seed for trial in result.trials})
    pairs = views.pairs_of(result, marks, seconds / max(1, len(seeds)))
    return page(
        "template.html.j2",
        "report.js",
        _page_data(result, sprites),
        **views.evidence_of(result, marks, pairs),
        fairness=by_seed,
        fairness_words=fairness.fairness_words(by_seed),
        short_hash=fairness.short_hash,
        what_was_done=views.what_was_done(result),
        version=views.environment_version(result.environment),
        evaluations=FULL_EVALUATIONS,
        about_synthesis=views.words_about_synthesis(result.settings),
        tasks={score.task for score in result.scores},
        score_groups=views.score_groups(result.scores),
        seeds=seeds,
        pictures_exact=exact,
        error_scale=ERROR_SCALE,
        error_gradient=", ".join(ERROR_COLOURS),
        format_seconds=format_seconds,
        steps_per_second=_steps_per_second,
    )


def write(result: ComparisonResult, path: Path) -> None:
    """Write the page to `path` atomically: readers see the old file or the new one.

    Raises:
        LossariumError: the folder cannot be written to.
    """
    write_page(render(result), path)


def _steps_per_second(trial: TrialResult) -> str:
    return format_value(trial.steps / trial.seconds, 1) if trial.seconds > 0 else format_value(math.nan, 0)


def _page_data(result: ComparisonResult, sprites: list[list[str]]) -> dict[str, Any]:
    """The data for the page's script, which refers to losses by their index in `losses`."""
    place = {spec: index for index, spec in enumerate(result.losses)}
    trials = [
        {
            "loss": place[trial.loss],
            "seed": trial.seed,
            "snapshots": [
                {"step": snapshot.step, "seconds": snapshot.seconds, "sprite": sprite}
                for snapshot, sprite in zip(trial.snapshots, trial_sprites, strict=True)
            ],
        }
        for trial, trial_sprites in zip(result.trials, sprites, strict=bool(sprites))
        if trial.loss in place and trial.snapshots
    ]
    return {
        "losses": [{"spec": spec, "colour": colour_of(index)} for spec, index in place.items()],
        "scores": [
            {
                "key": score.key,
                "title": score.title,
                "unit": score.unit,
                "digits": score.digits,
                "higherIsBetter": score.higher_is_better,
                "home": [place[loss] for loss in result.verdict.home.get(score.key, ()) if loss in place],
                "curves": [vars(curve_of(result, score.key, loss)) for loss in result.losses],
            }
            for score in result.scores
        ],
        "trials": trials,
        "rows": [
            {
                "source": row.source,
                "target": row.target,
                "frameName": row.frame_name,
                "exactSwap": row.exact_swap is not None,
            }
            for row in result.preview_rows
        ],
        "truth": data_uri(truth_sprite(result.preview_rows)) if result.preview_rows else "",
        "size": int(result.preview_rows[0].frame.shape[0]) if result.preview_rows else 0,
        "errorScale": ERROR_SCALE,
        "errorColours": ERROR_COLOURS,
    }
