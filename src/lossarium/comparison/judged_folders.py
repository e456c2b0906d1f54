"""From folders of pictures, made by anything, to a verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lossarium.comparison.results import score_of
from lossarium.errors import LossariumError
from lossarium.evidence.decision import decide
from lossarium.evidence.results import Score, Scores, Verdict
from lossarium.evidence.writing import as_json
from lossarium.judging.folders import FolderScores, score_folders
from lossarium.judging.judges import Judge
from lossarium.judging.pairs import Pair, match_folders
from lossarium.judging.picture_blocks import PictureBlocks, dependence, given_blocks, usual_blocks
from lossarium.losses.spec import parse
from lossarium.own_code import is_own
from lossarium.text.wording import counted, printable_name

TASK = "pictures"
"""The task of these scores; their keys are the judges' names."""


@dataclass(frozen=True)
class JudgedFolders:
    """Folders of pictures with their scores and the verdict, as terminal and report show them."""

    references: Path
    folders: Mapping[str, tuple[Path, ...]]
    """Name -> its folders, one a run."""
    pairs: Mapping[Path, tuple[Pair, ...]]
    """Folder -> its pairs that were judged, in the order of `pictures`."""
    pictures: tuple[str, ...]
    """The names of what was judged, without ending."""
    blocks: int
    """How many independent blocks the pictures are."""
    values: Mapping[str, Mapping[Path, Scores]]
    """Score -> folder -> one value per picture."""
    scores: tuple[Score, ...]
    verdict: Verdict
    troubles: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """The names, in the order in which the user gave them."""
        return tuple(self.folders)


def judge_folders(
    references: Path,
    folders: Mapping[str, Sequence[Path]],
    judges: Sequence[Judge],
    *,
    margins: Mapping[str, float] | None = None,
    blocks: str | None = None,
    masks: Path | None = None,
    common: bool = False,
    skip_bad: bool = False,
    follow_links: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> JudgedFolders:
    """Judge folders of pictures against references of the same names.

    With one folder a name, the verdict is about these pictures; with several, which are runs of the same
    method (seeds), it is about the methods. Runs of different names belong together in the order of their
    paths.

    Args:
        references: The folder of references.
        folders: Name -> its folders.
        judges: Who scores.
        margins: Judge -> what is too small to matter, where it is not the judge's own.
        blocks: See `given_blocks`; None for `usual_blocks`.
        masks: See `lossarium.judging.pairs.find_pairs`.
        common: See `match_folders`.
        skip_bad: See `score_folders`.
        follow_links: As for `lossarium.facesets.folder.load`.
        progress: Called with the numbers of references done and of all.

    Raises:
        LossariumError: folders are missing, named twice, do not match or cannot be read, runs are copies of
            each other, or a judge fails.
    """
    runs = {name: tuple(sorted(of_name, key=str)) for name, of_name in folders.items()}
    every = [folder for of_name in runs.values() for folder in of_name]
    _check_folders(references, every)
    matched = match_folders(references, every, masks, follow_links=follow_links, common=common)
    # Read before the pictures are, so that a mistake in it costs nobody minutes.
    names = [pair.name for pair in matched.of_folder[0]]
    of_all = None if blocks is None else given_blocks(blocks, names)
    scored = score_folders(matched.of_folder, judges, skip_bad=skip_bad, progress=progress)
    _refuse_copies(runs, dict(zip(every, scored.digests, strict=True)))
    scores = tuple(score_of(judge, judge.name, TASK, judge.description, margins or {}) for judge in judges)
    values = {judge: dict(zip(every, of_folders, strict=True)) for judge, of_folders in scored.values.items()}
    means = [
        np.stack([np.mean([of_judge[folder] for folder in of_name], axis=0) for of_name in runs.values()])
        for of_judge in values.values()
    ]
    kept = usual_blocks(means) if of_all is None else _kept(of_all, scored.places)
    verdict = decide(
        {score.key: _array(values[score.key], runs) for score in scores},
        tuple(runs),
        higher_is_better={score.key: score.higher_is_better for score in scores},
        blocks=kept.labels,
        home={judge.name: [name for name in runs if _trained_on(name, judge)] for judge in judges},
        margins={score.key: score.margin for score in scores},
        about="pictures" if all(len(of_name) == 1 for of_name in runs.values()) else "methods",
    )
    return JudgedFolders(
        references=references,
        folders=runs,
        pairs={
            folder: tuple(pairs[place] for place in scored.places)
            for folder, pairs in zip(every, matched.of_folder, strict=True)
        },
        pictures=scored.pictures,
        blocks=kept.count,
        values=values,
        scores=scores,
        verdict=_about(verdict, runs, kept, dependence(means, kept.labels)),
        troubles=tuple(_equal_to_references(every, scored)),
        notes=(*(f"{one}; left out." for one in matched.left_out), *matched.notes, *scored.notes),
    )


def verdict_table(result: JudgedFolders) -> dict[str, Any]:
    """The contents of `verdict.json`."""
    return {
        **as_json(result.verdict),
        "troubles": list(result.troubles),
        "references": printable_name(result.references),
        "folders": {name: list(map(printable_name, runs)) for name, runs in result.folders.items()},
        "pictures": len(result.pictures),
        "blocks": result.blocks,
        "notes": list(result.notes),
    }


def _check_folders(references: Path, folders: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for folder in (references, *folders):
        if folder.exists() and not folder.is_dir():
            raise LossariumError(
                f"{printable_name(folder)} is not a folder; give folders of pictures (two single pictures: "
                "lossarium measure)"
            )
        same = seen.setdefault(folder.resolve(), folder)
        if same is not folder:
            what = "that of the references" if same is references else "given twice"
            raise LossariumError(f"the folder {printable_name(folder)} is {what}; give every folder once")


def _refuse_copies(runs: Mapping[str, Sequence[Path]], digests: Mapping[Path, bytes]) -> None:
    """Copies of a run would make a method look free of luck."""
    for name, of_name in runs.items():
        seen: dict[bytes, Path] = {}
        for folder in of_name:
            same = seen.setdefault(digests[folder], folder)
            if same is not folder:
                raise LossariumError(
                    f"{printable_name(same)} and {printable_name(folder)} of {name} are equal pixel by "
                    "pixel, so they are one run and not two; leave one of them out"
                )


def _kept(blocks: PictureBlocks, places: Sequence[int]) -> PictureBlocks:
    """The blocks of the pictures that were judged."""
    labels = blocks.labels[list(places)]
    return replace(blocks, labels=np.unique(labels, return_inverse=True)[1].reshape(-1))


def _array(values: Mapping[Path, Scores], runs: Mapping[str, Sequence[Path]]) -> npt.NDArray[np.float64]:
    """(names, runs, pictures): NaN where a name has fewer runs; infinite where a judge gave NaN."""
    most = max(map(len, runs.values()))
    pictures = len(next(iter(values.values())))
    array = np.full((len(runs), most, pictures), np.nan)
    for place, of_name in enumerate(runs.values()):
        for run, folder in enumerate(of_name):
            array[place, run] = np.where(np.isnan(values[folder]), np.inf, values[folder])
    return array


def _trained_on(name: str, judge: Judge) -> bool:
    return _is_loss(name) and judge.is_home_of(name)


def _is_loss(name: str) -> bool:
    """Whether a folder's name is a loss, as in ssim=run1; code of the user's own is not loaded for it."""
    if is_own(name):
        return False
    try:
        parse(name)
    except LossariumError:
        return False
    return True


def _about(
    verdict: Verdict, runs: Mapping[str, Sequence[Path]], blocks: PictureBlocks, together: float | None
) -> Verdict:
    """The verdict with its budget in its sentence, and what was assumed among its caveats."""
    counts = sorted({len(of_name) for of_name in runs.values()})
    budget = f"On {counted(len(blocks.labels), 'picture')}"
    if verdict.about == "methods":
        several = f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else counted(counts[0], "run")
        budget += f" with {several} of each"
    added = [] if blocks.caveat is None else [blocks.caveat]
    if together is not None:
        added.append(
            "Neighbouring blocks of pictures are not independent (their differences correlate by "
            f"{together:.2f}), so the intervals are too short; give longer blocks with --blocks."
        )
    if homes := [name for name in runs if any(name in of_score for of_score in verdict.home.values())]:
        added.append(
            f"{' and '.join(homes)}: this name is a loss, so that judges that measure what it minimises "
            "have no vote on it; give another name if the pictures come from something else."
        )
    return replace(verdict, sentence=f"{budget}: {verdict.sentence}", caveats=(*verdict.caveats, *added))


def _equal_to_references(folders: Sequence[Path], scored: FolderScores) -> Iterator[str]:
    for folder, equal in zip(folders, scored.equals_references, strict=True):
        if equal:
            yield (
                f"{printable_name(folder)} equals the references pixel by pixel: it may be a copy of them "
                "and no result."
            )
