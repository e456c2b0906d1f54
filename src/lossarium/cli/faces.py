"""`lossarium faces`: make facesets."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_DESCRIPTION = """Render facesets of synthetic identities. Frame NNNN of every identity is in the same state
(expression, gaze, pose, light, background), so that a frame of one is the exact face swap of the same frame
of another. No face is a real person's likeness; the pictures are CC0."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `faces` and its sub-commands."""
    faces = commands.add_parser("faces", help="make facesets")
    subcommands = faces.add_subparsers(metavar="COMMAND", required=True)
    synthesize = subcommands.add_parser(
        "synthesize",
        help="render synthetic identities, whose exact swaps are known",
        description=_DESCRIPTION,
    )
    synthesize.add_argument(
        "out", type=Path, metavar="OUT", help="folder to write to: OUT/<identity>/ for each identity"
    )
    synthesize.add_argument(
        "--identities",
        default="ada,ben",
        metavar="NAMES",
        help="names separated by commas: ada, ben, chi, dev; random:N samples N adults (default: ada,ben)",
    )
    synthesize.add_argument(
        "--frames", type=int, default=300, metavar="N", help="frames per identity (default: 300)"
    )
    synthesize.add_argument(
        "--size", type=int, default=128, metavar="PX", help="side of the frames in pixels (default: 128)"
    )
    synthesize.add_argument(
        "--seed", type=int, default=7, metavar="S", help="seed of the frames' states (default: 7)"
    )
    synthesize.add_argument(
        "--held-out",
        type=int,
        metavar="N",
        help="how many of the last frames to hold out from training (default: a fifth)",
    )
    synthesize.add_argument(
        "--workers", type=int, metavar="N", help="number of processes (default: one per core)"
    )
    synthesize.set_defaults(run=run_synthesize)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress: a bar on a terminal, a plain line at every tenth elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from lossarium.cli.console import PlainConsole

    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        tenths: dict[str, int] = {}

        def line(what: str, done: int, total: int) -> None:
            tenth = 10 * done // total
            if tenths.get(what) != tenth:
                tenths[what] = tenth
                console.print(f"{what}: {done} of {total}", highlight=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars = {}

        def bar(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done)

        yield bar


def run_synthesize(arguments: argparse.Namespace) -> int:
    """Render the facesets and say where they are."""
    from lossarium.errors import LossariumError
    from lossarium.facesets.output_folder import refuse_output_in_faceset
    from lossarium.synthesis.anny_data import require_synthetic_extra

    require_synthetic_extra()
    from lossarium.synthesis.identities import resolve_identities
    from lossarium.synthesis.writing import Synthesis, default_held_out, synthesize

    if arguments.workers is not None and arguments.workers < 1:
        raise LossariumError(f"{arguments.workers} workers cannot render: ask for 1 or more.")
    if arguments.seed < 0:
        raise LossariumError(f"The seed is {arguments.seed}, but it must be 0 or more.")
    held_out = default_held_out(arguments.frames) if arguments.held_out is None else arguments.held_out
    synthesis = Synthesis(
        identities=resolve_identities(arguments.identities, arguments.seed),
        frames=arguments.frames,
        size=arguments.size,
        seed=arguments.seed,
        held_out=held_out,
    )
    refuse_output_in_faceset(arguments.out)
    with _progress() as report:
        folders = synthesize(synthesis, arguments.out, workers=arguments.workers, report=report)
    for folder in folders:
        print(f"{folder}: {arguments.frames} frames of {arguments.size} px, the last {held_out} held out")
    return 0
