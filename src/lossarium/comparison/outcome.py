"""Reads a finished comparison from its folder; the trials' records are the source of truth."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.comparison.last_third import remarks
from lossarium.comparison.plan import Plan
from lossarium.comparison.results import ComparisonResult, Snapshot, TrialResult, score_of
from lossarium.errors import LossariumError
from lossarium.evidence.decision import decide
from lossarium.evidence.results import Score, Scores, Verdict
from lossarium.evidence.wording import joined
from lossarium.facesets.batches.amount import Augmentation
from lossarium.facesets.faceset import Faceset, described_split
from lossarium.facesets.reading import UnreadablePicture
from lossarium.judging.held_out import Direction, blocks_of, score_key
from lossarium.judging.home import Homes, from_table
from lossarium.judging.judges import Judge, judges_of
from lossarium.judging.tasks import RECONSTRUCTION, SWAP
from lossarium.text.wording import counted, printable_name
from lossarium.training import records
from lossarium.training.checkpoints import newest_checkpoints
from lossarium.training.configuration import FULL_EVALUATIONS, Recipe, Trial
from lossarium.trial.folder import SETTINGS, TRIAL, read_toml, trial_folder
from lossarium.trial.previews import load_previews, placeholder, preview_rows


def outcome(
    plan: Plan,
    facesets: tuple[Faceset, Faceset],
    pair: tuple[Direction, ...],
    out: Path,
    notes: tuple[str, ...],
) -> ComparisonResult:
    """Read all that the report shows of a comparison whose trials are all finished.

    Raises:
        LossariumError: a trial's records are damaged.
    """
    shown = preview_rows(pair, facesets)
    folders = [trial_folder(out, trial) for trial in plan.trials()]
    damages = [note for folder in folders for note in _without_weights(folder)]
    trials = tuple(
        _trial_result(trial, folder, len(shown), damages)
        for trial, folder in zip(plan.trials(), folders, strict=True)
    )
    scores = _scores(pair, judges_of(plan.recipe.judges), plan.margins)
    _check_scores(out, trials, scores)
    troubles = tuple(sentence for trial in trials for sentence in trial.troubles())
    settings = read_toml(out / SETTINGS, needs=["environment", "homes"])
    homes = from_table(settings["homes"])
    verdict = _verdict(plan, scores, trials, blocks_of(pair), homes)
    return ComparisonResult(
        identities=(facesets[0].identity, facesets[1].identity),
        losses=plan.losses,
        scores=scores,
        trials=trials,
        verdict=verdict,
        troubles=troubles,
        preview_rows=shown,
        settings=_settings(plan, facesets),
        environment=settings["environment"],
        homes=homes,
        notes=(*notes, *damages),
    )


def _verdict(
    plan: Plan,
    scores: tuple[Score, ...],
    trials: tuple[TrialResult, ...],
    blocks: Mapping[str, npt.NDArray[np.intp]],
    homes: Homes,
) -> Verdict:
    """The verdict on the scores, with its budget, its trials that went wrong, and what the curves say of
    it."""
    verdict = decide(
        {score.key: np.array([_final(score.key, loss, trials) for loss in plan.losses]) for score in scores},
        plan.losses,
        higher_is_better={score.key: score.higher_is_better for score in scores},
        blocks={score.key: blocks[score.task] for score in scores},
        home={score.key: [loss for loss in plan.losses if homes[loss][score.judge].home] for score in scores},
        margins={score.key: score.margin for score in scores},
    )
    budget = f"After {plan.recipe.steps:,} steps with {counted(plan.seeds, 'seed')}"
    sentence = f"{budget}: {verdict.sentence}"
    if troubled := [
        loss for loss in plan.losses if any(trial.troubles() for trial in trials if trial.loss == loss)
    ]:
        sentence += f" But there was trouble with {joined(troubled)}: this verdict rests on unequal trials."
    unscored = (
        "Swaps are shown but not scored: the exact swap is known for synthetic identities alone, so the "
        "verdict is on reconstruction.",
    )
    return replace(
        verdict,
        sentence=sentence,
        caveats=(
            *remarks(verdict, scores, trials),
            *verdict.caveats,
            *_without_gradient(plan, homes),
            *(() if SWAP in blocks else unscored),
        ),
    )


def _without_gradient(plan: Plan, homes: Homes) -> Iterator[str]:
    """A sentence on each judge whose homes are not measured but named."""
    for judge in plan.recipe.judges:
        unmeasured = [loss for loss in plan.losses if homes[loss][judge].cosine is None]
        if unmeasured:
            yield (
                f"Whether {judge} favours {joined(unmeasured)} could not be measured, for one of them has no "
                "gradient at the pictures that are used for it: it has no vote on the losses that it names."
            )


def _without_weights(folder: Path) -> Iterator[str]:
    """A note for a finished trial whose checkpoints were removed; the verdict does not need them."""
    if not newest_checkpoints(folder):
        yield (
            f"The weights of the trial {printable_name(folder)} are gone: there is no checkpoint in it. The "
            "verdict does not need them; swapping with this trial does."
        )


def _check_scores(out: Path, trials: tuple[TrialResult, ...], scores: tuple[Score, ...]) -> None:
    """Refuse trials whose last snapshot lacks a score, or has one for another number of frames."""
    for score in scores:
        counts: dict[int, str] = {}
        for trial in trials:
            last = trial.snapshots[-1].scores if trial.snapshots else {}
            if score.key not in last:
                raise LossariumError(
                    f"the rows of {printable_name(out / 'trials' / trial.name)} end without {score.key}; "
                    "move that folder elsewhere and run the same command again, which trains this trial again"
                )
            counts.setdefault(len(last[score.key]), trial.name)
        if len(counts) > 1:
            raise LossariumError(
                f"the trials {' and '.join(counts.values())} in {printable_name(out)} have {score.key} of "
                "different numbers of frames; move the damaged one elsewhere and run the same command again"
            )


def _scores(
    pair: tuple[Direction, ...], judges: tuple[Judge, ...], margins: Mapping[str, float]
) -> tuple[Score, ...]:
    swaps_known = any(len(direction.known) for direction in pair)
    tasks = (RECONSTRUCTION, SWAP) if swaps_known else (RECONSTRUCTION,)
    return tuple(
        score_of(judge, score_key(task, judge), task, _description(task, judge), margins)
        for task in tasks
        for judge in judges
    )


def _description(task: str, judge: Judge) -> str:
    return (
        f"{judge.description} Inside the face, against the exact swap." if task == SWAP else judge.description
    )


def _final(key: str, loss: str, trials: tuple[TrialResult, ...]) -> Scores:
    """(seeds, pictures), means over a trial's full evaluations at its end: much of the luck of a single one
    is where the last steps happened to end.

    Infinite where a trial has no figure, for NaN would mean that there is no such trial.
    """
    values = np.array([_at_the_end(trial, key) for trial in trials if trial.loss == loss])
    return np.where(np.isnan(values), np.inf, values)


def _at_the_end(trial: TrialResult, key: str) -> Scores:
    """(pictures,)."""
    last = trial.snapshots[-1].scores[key]
    full = [snapshot.scores.get(key, last) for snapshot in trial.snapshots[-FULL_EVALUATIONS:]]
    return np.asarray(np.mean([scores for scores in full if len(scores) == len(last)], axis=0))


def _trial_result(trial: Trial, folder: Path, shown: int, damages: list[str]) -> TrialResult:
    """One trial's rows and pictures; adds a note to `damages` for each sheet that cannot be shown."""
    snapshots: list[Snapshot] = []
    batches, last = "", {}
    learning_rate_factor, rollbacks, skipped_steps = 1.0, 0, 0
    for row in records.read(folder):
        last = row
        batches = row.get("batches", batches)
        if "went_back" in row:
            learning_rate_factor = row["went_back"]["learning_rate_factor"]
            rollbacks += 1
        skipped_steps += "passed_over" in row
        if "held_out" in row:
            if len(snapshots) >= FULL_EVALUATIONS:
                snapshots[-FULL_EVALUATIONS] = _means_alone(snapshots[-FULL_EVALUATIONS])
            try:
                reconstructions, swaps = load_previews(folder, row["step"], trial.recipe.size, shown)
            except UnreadablePicture as damage:
                reconstructions = swaps = placeholder(trial.recipe.size, shown)
                damages.append(
                    f"{damage} A grey placeholder stands for it; the verdict does not depend on it."
                )
            scores = {key: np.array(values, dtype=np.float64) for key, values in row["held_out"].items()}
            # Rows of a sample have nothing but the sample's values.
            sample = row["sample"] if row.get("judged") == "all" else {}
            snapshots.append(Snapshot(row["step"], row["seconds"], scores, reconstructions, swaps, sample))
    if not last.get("finished"):
        raise LossariumError(f"the records in {folder} end before the trial does; run the same command again")
    return TrialResult(
        name=folder.name,
        loss=trial.loss,
        seed=trial.seed,
        initial_weights=read_toml(folder / TRIAL, needs=["initial_weights"])["initial_weights"],
        final_weights=last["weights"],
        batches=batches,
        steps=last["step"],
        seconds=last["seconds"],
        snapshots=tuple(snapshots),
        rollbacks=rollbacks,
        learning_rate_factor=learning_rate_factor,
        skipped_steps=skipped_steps,
    )


def _means_alone(snapshot: Snapshot) -> Snapshot:
    """A snapshot reduced to its mean scores, all that the curves need of snapshots before the last ones."""
    return replace(
        snapshot, scores={key: np.array([snapshot.mean(key)]) for key in snapshot.scores}, sample={}
    )


def _settings(plan: Plan, facesets: tuple[Faceset, Faceset]) -> dict[str, str]:
    recipe = plan.recipe
    settings = {
        "Steps": f"{recipe.steps:,}",
        "Seeds": str(plan.seeds),
        "Picture size": f"{recipe.size} px",
        "Model": recipe.model,
        "Batch": f"{recipe.batch_size} of each identity",
        "Optimiser": f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}",
        "Schedule": recipe.schedule,
        **_unusual(recipe),
        "Precision": recipe.precision,
        "Augmentation": _augmentation(recipe.augmentation),
    }
    for faceset in facesets:
        settings[f"Frames of {faceset.identity}"] = described_split(faceset)
    return settings


def _unusual(recipe: Recipe) -> dict[str, str]:
    """The settings that most comparisons leave at their defaults, but this one does not."""
    settings = {}
    if recipe.clipping != "none":
        settings["Clipping"] = recipe.clipping
    if recipe.accumulation > 1:
        settings["Accumulation"] = f"{recipe.accumulation} batches a step"
    counts = [f"the {name} {times:g} times" for name, times in _multiplied(recipe) if times != 1]
    if recipe.mask_loss:
        counts.append(f"nothing outside the mask {recipe.mask}")
    if counts:
        settings["What pixels count"] = ", ".join(counts)
    return settings


def _multiplied(recipe: Recipe) -> tuple[tuple[str, float], ...]:
    return ("eyes", recipe.eye_multiplier), ("mouth", recipe.mouth_multiplier)


def _augmentation(amount: Augmentation) -> str:
    lab = (
        f", lightness ±{amount.lightness:.0%}, colour ±{amount.colour:.0%}, CLAHE {amount.clahe:.0%}"
        if amount.in_lab
        else ""
    )
    return (
        f"warp {amount.warp:.1%} of the side, turn ±{amount.rotation:g}°, zoom ±{amount.zoom:.0%}, "
        f"shift ±{amount.shift:.0%}, flip {amount.flip:.0%}, brightness ±{amount.brightness:.0%}, "
        f"contrast ±{amount.contrast:.0%}, tint ±{amount.tint:.0%}{lab}"
    )
