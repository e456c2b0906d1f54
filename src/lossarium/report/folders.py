"""The page of `lossarium judge`: verdict, scores and pairs as in a comparison's report, and pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lossarium.comparison.judged_folders import JudgedFolders
from lossarium.facesets.whole_pictures import read_whole_picture
from lossarium.report import views
from lossarium.report.formatting import count, format_value
from lossarium.report.page import page, write_page
from lossarium.report.pictures import ERROR_COLOURS, ERROR_SCALE, data_uri
from lossarium.text.wording import printable_name
from lossarium.trial.environment import environment
from lossarium.trial.pictures import Pictures

_LARGEST_SIDE = 320
_MOST_DIFFERENT, _SPREAD_OUT = 3, 3
_LOSSLESS_PIXELS = 4_000_000
"""Up to so many pixels on the page, pictures are kept exactly."""


@dataclass(frozen=True)
class ExamplePicture:
    """What one folder has."""

    mark: views.LossMark
    uri: str
    error_uri: str
    error: str
    """The mean of the error map."""


@dataclass(frozen=True)
class Example:
    """A reference and what the folders have."""

    name: str
    why: str
    """Why it is shown."""
    reference: str
    width: int
    height: int
    pictures: tuple[ExamplePicture, ...]
    reduced: bool


def render(result: JudgedFolders) -> str:
    """The whole page as text; it needs no JavaScript.

    Raises:
        LossariumError: a picture can no longer be read.
    """
    marks = views.loss_marks(result)
    pairs = views.pairs_of(result, marks)
    examples = _examples(result, marks)
    versions = environment()
    return page(
        "folders.html.j2",
        None,
        {},
        **views.evidence_of(result, marks, pairs),
        what_was_done=_what_was_done(result),
        version=views.environment_version(versions),
        environment=versions,
        folders={
            "References": printable_name(result.references),
            **{name: ", ".join(map(printable_name, runs)) for name, runs in result.folders.items()},
        },
        examples=examples,
        reduced=any(example.reduced for example in examples),
        largest_side=_LARGEST_SIDE,
        error_scale=ERROR_SCALE,
        error_gradient=", ".join(ERROR_COLOURS),
    )


def write(result: JudgedFolders, path: Path) -> None:
    """Write the page to `path` atomically: readers see the old file or the new one.

    Raises:
        LossariumError: the folder cannot be written to, or a picture can no longer be read.
    """
    write_page(render(result), path)


def _what_was_done(result: JudgedFolders) -> str:
    runs = sum(map(len, result.folders.values()))
    made_by = "" if runs == len(result.folders) else f" of {count(len(result.folders), 'method')}"
    return (
        f"{count(runs, 'folder')}{made_by} with {count(len(result.pictures), 'picture')} each, in "
        f"{count(result.blocks, 'independent block')}, judged by {count(len(result.scores), 'judge')}."
    )


def _examples(result: JudgedFolders, marks: dict[str, views.LossMark]) -> list[Example]:
    chosen = _chosen(result)
    lossless = len(chosen) * len(marks) * _LARGEST_SIDE**2 <= _LOSSLESS_PIXELS
    return [_example(result, marks, place, why, lossless) for place, why in chosen.items()]


def _chosen(result: JudgedFolders) -> dict[int, str]:
    """The places of the pictures to show, in order, and why they are shown."""
    total = len(result.pictures)
    spread = np.zeros(total)
    for score in result.scores:
        values = np.stack([result.values[score.key][runs[0]] for runs in result.folders.values()])
        differences = np.ptp(np.where(np.isfinite(values), values, 0.0), axis=0)
        spread += differences / (differences.mean() or 1.0)
    different = np.argsort(-spread, kind="stable")[:_MOST_DIFFERENT].tolist()
    even = np.linspace(0, total - 1, min(total, _SPREAD_OUT + 2)).round().astype(int)[1:-1].tolist()
    chosen = dict.fromkeys(even, "") | dict.fromkeys(different, "the largest differences")
    return dict(sorted(chosen.items()))


def _example(
    result: JudgedFolders, marks: dict[str, views.LossMark], place: int, why: str, lossless: bool
) -> Example:
    of_first = [result.pairs[runs[0]][place] for runs in result.folders.values()]
    truth = read_whole_picture(of_first[0].reference, of_first[0].packed_reference).pixels
    shown = _reduced(truth)
    pictures = []
    for mark, pair in zip(marks.values(), of_first, strict=True):
        made = read_whole_picture(pair.test, pair.packed_test).pixels
        error = np.abs(made.astype(np.float32) - truth).mean(2) / 255
        pictures.append(
            ExamplePicture(
                mark,
                data_uri(_reduced(made), lossless=lossless),
                data_uri(_reduced(_coloured(error)), lossless=lossless),
                format_value(float(error.mean()), 3),
            )
        )
    return Example(
        name=result.pictures[place],
        why=why,
        reference=data_uri(shown, lossless=lossless),
        width=shown.shape[1],
        height=shown.shape[0],
        pictures=tuple(pictures),
        reduced=shown.shape != truth.shape,
    )


def _reduced(picture: Pictures) -> Pictures:
    """Small enough for the page."""
    if max(picture.shape[:2]) <= _LARGEST_SIDE:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BOX)
    return np.array(image, np.uint8)


def _coloured(error: npt.NDArray[np.float32]) -> Pictures:
    """(H, W) of errors as (H, W, 3) in the colours of the scale."""
    steps = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in ERROR_COLOURS])
    places = np.linspace(0, ERROR_SCALE, len(steps))
    channels = [np.interp(error, places, steps[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
