"""The command line: `lossarium COMMAND ...`."""

import argparse
import errno
import sys
from collections.abc import Sequence

import lossarium
from lossarium.cli import (
    compare,
    explain,
    faces,
    find_lr,
    judge,
    judges,
    losses,
    measure,
    models,
    swap,
    timelapse,
    train,
)
from lossarium.cli import set as set_command
from lossarium.cli.output import reason_dropped, tolerant_output
from lossarium.errors import LossariumError
from lossarium.training.signals import Stopped

# Their output may be read by another program, so that losing it is an error.
_COMMANDS_THAT_PRINT_RESULTS = ("losses", "models", "judges", "explain", "measure", "judge")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    It is 0, 2 for a mistake that the user can fix, 130 for Ctrl-C, 129 or 143 when a closed terminal or the
    system ends it. Output that cannot be written is an error only in commands that do nothing but print.
    """
    with tolerant_output() as output:
        chosen = _parser().parse_args(arguments)
        output.results = chosen.command in _COMMANDS_THAT_PRINT_RESULTS
        status = _run(chosen)
        output.stdout.flush()
        if status == 0 and (error := output.lost_results) is not None:
            return _refuse(f"the output cannot be written ({reason_dropped(error)}); write it elsewhere")
        return status


def _run(chosen: argparse.Namespace) -> int:
    try:
        return int(chosen.run(chosen))
    except LossariumError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(_system_error(error))
    except Stopped as stopped:
        print(f"lossarium: {stopped}", file=sys.stderr)
        return 128 + stopped.number
    except KeyboardInterrupt:
        print("\nlossarium: stopped", file=sys.stderr)
        return 130


def _system_error(error: OSError) -> str:
    """The message for an error of the system, such as a full disk or a folder that was removed."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some room and run the same command again"
    return f"a file cannot be read or written: {error.strerror or error}{where}"


def _refuse(sentence: str) -> int:
    print(f"lossarium: error: {sentence}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossarium",
        description="Which loss function makes the best pictures from your data, with evidence.",
    )
    parser.add_argument("--version", action="version", version=f"lossarium {lossarium.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    compare.add(commands)
    faces.add(commands)
    losses.add(commands)
    judge.add(commands)
    judges.add(commands)
    models.add(commands)
    explain.add(commands)
    measure.add(commands)
    find_lr.add(commands)
    train.add(commands)
    set_command.add(commands)
    swap.add(commands)
    timelapse.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
