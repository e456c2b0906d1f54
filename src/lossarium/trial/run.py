"""Run a single trial, as `lossarium train` does, with the same loop and judges as in a comparison."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset, data_digest
from lossarium.files import write_whole
from lossarium.judging.held_out import Direction, directions, score_key
from lossarium.judging.judges import Judge, judge, judges_of
from lossarium.judging.sample import Sample, judged, sample_of
from lossarium.judging.tasks import RECONSTRUCTION
from lossarium.judging.try_judges import try_judges
from lossarium.training import control
from lossarium.training.callbacks import Callbacks
from lossarium.training.checkpoints import why_without_weights
from lossarium.training.configuration import Trial
from lossarium.training.folder_lock import locked_trial
from lossarium.training.keeping import Keeping
from lossarium.training.loop import train
from lossarium.training.processes import Processes, single_process
from lossarium.training.records import Row, sampled_scores
from lossarium.training.trial_batches import check_regions
from lossarium.trial.begin_or_continue import Source, begin_or_continue, is_done
from lossarium.trial.callbacks import showing
from lossarium.trial.environment import environment
from lossarium.trial.folder import SETTINGS, TRIAL, check_room, refuse_folder_with
from lossarium.trial.forecast import announce_forecast, disk_needed, out_of_memory
from lossarium.trial.precision import warn_of_slow_bf16
from lossarium.trial.previews import Previews
from lossarium.trial.timelapse import NAME as TIMELAPSE
from lossarium.trial.timelapse import sheet_count, write_timelapse
from lossarium.trial.view_options import ViewOptions


def run_trial(
    trial: Trial,
    facesets: tuple[Faceset, Faceset],
    folder: Path,
    callbacks: Callbacks,
    keeping: Keeping,
    *,
    until_converged: bool = False,
    processes: Processes | None = None,
    views: ViewOptions | None = None,
    source: Source | None = None,
    any_environment: bool = False,
) -> None:
    """Train a trial to its end, with scores and previews at every snapshot, steered by `control.toml`.

    A trial that has done fewer steps than are asked for now is continued.

    Args:
        trial: What to train.
        facesets: The two identities.
        folder: The trial's; created if it does not exist.
        callbacks: Called as training goes on; `on_checkpoint` and `on_rescue` are set here.
        keeping: Which checkpoints to keep.
        until_converged: Whether to stop when the recipe's judge has stopped improving.
        processes: The processes that train together, all of which call this; by default a single one, on the
            CPU.
        views: What to show meanwhile.
        source: The source of the first weights; by default they are drawn from the seed.
        any_environment: Whether to go on although numbers may differ in their last bits.

    Raises:
        LossariumError: the folder belongs to another trial, is in use or was begun in another
            environment; or the loss exploded after all rollbacks.
        Stopped: the process was asked to stop.
    """
    refuse_folder_with(folder, SETTINGS)
    check_regions(trial.recipe, trial.recipe.region_weights, facesets)
    pair = directions(*facesets)
    try_judges(judges_of(trial.recipe.judges), pair)
    processes = processes or single_process()
    model = None
    held_out = sum(int(faceset.held_out.sum()) for faceset in facesets)
    disk = disk_needed(trial.recipe, held_out=held_out)
    if processes.is_first:
        if not (folder / TRIAL).exists():
            # A trial that is continued has most of its files already, and waits for disk space if it has to.
            check_room(folder, disk)
        with locked_trial(folder):
            model = begin_or_continue(
                folder,
                trial,
                data_table(facesets),
                environment(processes),
                tell=callbacks.tell,
                source=source,
                any_environment=any_environment,
            )
            if not (folder / control.NAME).exists():
                write_whole(folder / control.NAME, control.TEMPLATE.encode())
    if not processes.broadcast_from_first(partial(is_done, folder, trial)):
        announce_forecast(trial.recipe, callbacks.tell, disk=disk, device=processes.device)
        if processes.is_first:
            warn_of_slow_bf16(trial.recipe, processes.device, callbacks.tell)
        evaluator = make_evaluator(trial, pair, folder)
        shown = (views or ViewOptions()) if processes.is_first else ViewOptions(preview_every=0)
        identities = facesets[0].identity, facesets[1].identity
        with (
            out_of_memory(trial.recipe, folder),
            showing(trial, evaluator.pair, identities, folder, callbacks, shown) as everyone,
        ):
            train(
                trial,
                facesets,
                folder,
                evaluator,
                replace(
                    everyone,
                    on_checkpoint=evaluator.previews.write,
                    on_rescue=evaluator.previews.write_to,
                ),
                keeping=keeping,
                until_converged=until_converged,
                by_hand=True,
                processes=processes,
                model=model,
            )
    elif processes.is_first and (why := why_without_weights(folder)) is not None:
        raise LossariumError(
            f"the trial in {folder} is finished, but its weights are gone: {why}; "
            "put back a copy of them, or train it again in another folder with --out"
        )
    if processes.is_first and not (folder / TIMELAPSE).exists():
        _keep_timelapse(folder, callbacks)


def _keep_timelapse(folder: Path, callbacks: Callbacks) -> None:
    """Write the time-lapse; a failure is only reported, since the trial itself is finished."""
    if sheet_count(folder) > 1:
        try:
            write_timelapse(folder, folder / TIMELAPSE)
        except (OSError, LossariumError) as error:
            callbacks.tell(f"there is no {TIMELAPSE}: {error}")


@dataclass(frozen=True)
class HeldOutEvaluator:
    """Evaluates a trial on held-out frames: scores, previews, and one number for how good it is."""

    pair: tuple[Direction, ...]
    sample: Sample
    """The frames of the pair that every evaluation judges."""
    previews: Previews
    judge: Judge
    """The judge that steers."""
    judges: tuple[Judge, ...]
    """The judges that score."""

    def __call__(self, model: nn.Module, step: int, *, everything: bool) -> Row:
        self.previews.take(model, step)
        return judged(model, self.sample, self.judges, everything=everything)

    def goodness(self, row: Row) -> float:
        """The judge's mean score of the sampled reconstructions, negated if lower scores are better."""
        values = sampled_scores(row)[score_key(RECONSTRUCTION, self.judge)]
        return (1 if self.judge.higher_is_better else -1) * sum(values) / len(values)


def make_evaluator(trial: Trial, pair: tuple[Direction, ...], folder: Path) -> HeldOutEvaluator:
    """The evaluator of a trial, with its previews in `folder`."""
    recipe = trial.recipe
    return HeldOutEvaluator(
        pair,
        sample_of(pair, recipe.judged_frames),
        Previews(pair, folder),
        judge(recipe.judge),
        judges_of(recipe.judges),
    )


def data_table(facesets: tuple[Faceset, Faceset]) -> dict[str, str]:
    """The names and hashes of two facesets."""
    table = {}
    for label, faceset in zip(("first", "second"), facesets, strict=True):
        table[label] = faceset.identity
        table[f"pictures_of_{label}"] = data_digest(faceset)
    return table
