"""The report: one HTML file that holds everything it shows and asks no network for anything."""

import base64
import hashlib
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossarium.comparison.results import ComparisonResult, Score, TrialResult
from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.report import keel, views
from lossarium.report.curves import curve_of
from lossarium.report.formatting import format_seconds, format_value
from lossarium.report.palette import colour_of, palette_css
from lossarium.report.pictures import ERROR_COLOURS, ERROR_SCALE, data_uri, sprites_of, truth_sprite

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" '
    'fill="#0b6e75"/><path d="M3 4c2 7 5 8 10 8" fill="none" stroke="#fff" stroke-width="2" '
    'stroke-linecap="round"/></svg>'
)


def render(result: ComparisonResult) -> str:
    """The whole page as text. Verdict and tables are plain HTML; curves and pictures need its script."""
    scripts = [_package_text("uplot/uPlot.iife.min.js"), _package_text("report.js")]
    sprites, exact = sprites_of(result) if result.preview_rows else ([], True)
    marks = views.loss_marks(result)
    template = Environment(
        loader=PackageLoader("lossarium.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("template.html.j2")
    keels = keel.keels_of(result)
    return template.render(
        result=result,
        verdict=result.verdict,
        marks=marks,
        ranked=views.ranked(marks),
        tables=views.tables_of(result),
        pairs=views.pairs_of(result, marks),
        keels=keels,
        keel_words=keel.keel_words(keels),
        short_hash=keel.short_hash,
        breakable=_breakable,
        what_was_done=views.what_was_done(result),
        version=views.environment_version(result.environment),
        about_synthesis=views.words_about_synthesis(result.settings),
        tasks={score.task for score in result.scores},
        score_groups=_score_groups(result.scores),
        seeds=sorted({trial.seed for trial in result.trials}),
        pictures_exact=exact,
        error_scale=ERROR_SCALE,
        error_gradient=", ".join(ERROR_COLOURS),
        format_seconds=format_seconds,
        steps_per_second=_steps_per_second,
        favicon="data:image/svg+xml;base64," + base64.b64encode(FAVICON.encode()).decode("ascii"),
        content_security_policy=_content_security_policy(scripts),
        # These four come from the package or are made safe below: they are not escaped again.
        styles=Markup(_package_text("uplot/uPlot.min.css") + palette_css() + _package_text("report.css")),
        scripts=[Markup(script) for script in scripts],
        data=_json_for_html(_page_data(result, sprites)),
        uplot_licence=_package_text("uplot/LICENSE"),
    )


def write(result: ComparisonResult, path: Path) -> None:
    """Write the page to `path`; whoever reads meanwhile sees the old file or the new one, never half of it.

    Raises:
        LossariumError: the folder cannot be written to.
    """
    # A folder name may hold bytes that are no UTF-8; they must not cost the user the report.
    content = render(result).encode("utf-8", "replace")
    try:
        write_whole(path, content)
    except OSError as error:
        raise LossariumError(
            f"The report cannot be written to {path} ({error.strerror}); choose a folder that can be written."
        ) from error


def _package_text(name: str) -> str:
    return resources.files("lossarium.report").joinpath(name).read_text("utf-8")


def _content_security_policy(scripts: list[str]) -> str:
    """Forbids every request, and every script but the two inlined ones, whatever a name may smuggle in."""
    digests = (
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts
    )
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _breakable(spec: str) -> Markup:
    """The spec, escaped: lines break between its terms if they can, else after a bracket, comma or sign."""
    terms = (Markup("<wbr>").join(re.split(r"(?<=[(,*])", term)) for term in re.split(r"\s+(?=[+-]\s)", spec))
    return Markup(" ").join(Markup('<span class="term">{}</span>').format(term) for term in terms)


def _score_groups(scores: tuple[Score, ...]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(views.TASK_TITLES.get(score.task, score.task.capitalize()), []).append(score)
    return groups


def _steps_per_second(trial: TrialResult) -> str:
    return format_value(trial.steps / trial.seconds, 1) if trial.seconds > 0 else format_value(math.nan, 0)


def _page_data(result: ComparisonResult, sprites: list[list[str]]) -> dict[str, Any]:
    """What the page's script needs; losses are told by their place in `losses`."""
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


def _json_for_html(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the element it stands in; NaN is not JSON and must not occur."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
