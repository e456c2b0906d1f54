"""Output that cannot be encoded or written never ends a command: characters are replaced, or text is dropped.

A reader that exits (`| head -1`), a log on a full disk and a closed terminal make every write fail. The work
goes on; the other stream says so once, if it can still be written.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO, cast

from lossarium.text.plain import plain


class TolerantStream(io.TextIOBase):
    """A text stream around another one, whose writes do not fail.

    Attributes:
        error: The error for which text was dropped the first time; None as long as all was written.
        on_first_failure: Called with this error, once.
    """

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream."""
        self._stream = stream
        self.error: OSError | ValueError | None = None
        self.on_first_failure: Callable[[OSError | ValueError], None] = lambda _: None

    def write(self, text: str, /) -> int:
        """Write what can be written; return the length of the whole text."""
        try:
            self._stream.write(plain(text, self.encoding))
        except (OSError, ValueError) as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it can be written."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def settle(self) -> None:
        """Flush for the last time, and discard what cannot be written.

        Otherwise the interpreter would try to flush the wrapped stream's buffer again at exit, print
        "Exception ignored" and change the exit status to 120.
        """
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)
            self._throw_away()

    def _drop(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO):
            # A closed pipe or terminal stays closed, while a full disk may recover.
            self._throw_away()
        if self.error is None:
            self.error = error
            self.on_first_failure(error)

    def _throw_away(self) -> None:
        """Redirect the buffer and all later output to the null device."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The wrapped stream's file descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """True: writes that fail are dropped."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The wrapped stream's."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        # `buffer`, `line_buffering` and the like.
        return getattr(self._stream, name)


def reason_dropped(error: OSError | ValueError) -> str:
    """The reason for which text could not be written, to be part of a sentence."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@dataclass
class Output:
    """The two output streams of a command."""

    stdout: TolerantStream
    stderr: TolerantStream
    results: bool = False
    """Whether stdout carries results, perhaps for another program, so that no notes may be written there."""

    @property
    def lost_results(self) -> OSError | ValueError | None:
        """The error by which results were lost; None if not lost, or if the reader closed the pipe."""
        error = self.stdout.error
        return error if self.results and not isinstance(error, BrokenPipeError) else None

    def stdout_failed(self, error: OSError | ValueError) -> None:
        """Say so on stderr, unless the reader closed the pipe or the command reports it at its end."""
        if not self.results and not isinstance(error, BrokenPipeError):
            _tell(self.stderr, "results", error)

    def stderr_failed(self, error: OSError | ValueError) -> None:
        """Say so on stdout, unless it carries results."""
        if not self.results:
            _tell(self.stdout, "progress", error)


def _tell(stream: TolerantStream, what: str, error: OSError | ValueError) -> None:
    stream.write(f"note: {what} cannot be printed ({reason_dropped(error)}); the work goes on\n")
    stream.flush()


@contextmanager
def tolerant_output() -> Iterator[Output]:
    """Make `sys.stdout` and `sys.stderr` tolerant while a command runs."""
    before = sys.stdout, sys.stderr
    with _present(sys.stdout) as stdout, _present(sys.stderr) as stderr:
        output = Output(TolerantStream(stdout), TolerantStream(stderr))
        output.stdout.on_first_failure = output.stdout_failed
        output.stderr.on_first_failure = output.stderr_failed
        sys.stdout, sys.stderr = cast("TextIO", output.stdout), cast("TextIO", output.stderr)
        try:
            yield output
        finally:
            output.stdout.settle()
            output.stderr.settle()
            sys.stdout, sys.stderr = before


@contextmanager
def _present(stream: TextIO | None) -> Iterator[TextIO]:
    """The stream; the null device where the process was started with it closed."""
    if stream is not None:
        yield stream
        return
    with open(os.devnull, "w", encoding="utf-8") as null:  # noqa: PTH123 - not a path
        yield null
