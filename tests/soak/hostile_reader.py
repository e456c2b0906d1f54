"""Reads the given folders, each in a process of its own with limits, and reports time and memory.

A line of standard input is JSON: the folder, the reader, the most CPU seconds and the most bytes of memory. A
line of standard output is JSON, too: `outcome` ("read", "refused", or what went wrong), `seconds`, `bytes`.
"""

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.facesets.folder import list_folder
from lossarium.facesets.frames import read_frames
from lossarium.trial.folder import read_toml

SIDE = 32


def read(folder: Path, reader: str) -> str:
    """The outcome for a folder: "read" or "refused"; anything but one sentence of refusal is an error."""
    try:
        if reader == "toml":
            read_toml(folder / "trial.toml")
            return "read"
        readings = read_frames(list_folder(folder), SIDE)
    except LossariumError as error:
        sentences = [str(error)]
    else:
        sentences = [str(failure) for failure in readings.failures]
    for sentence in sentences:
        if not sentence.isprintable():
            raise AssertionError(f"not one line: {sentence!r}")
    return "refused" if sentences else "read"


def in_child(folder: Path, reader: str, cpu_seconds: float, memory: int, pipe: int) -> None:
    # The child begins with what its parent has in memory.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    # Eight threads may decode side by side, each with a stack and an arena of its own.
    spare = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory + spare,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds) + 2,) * 2)
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        outcome = read(folder, reader)
    except BaseException:
        outcome = traceback.format_exc()
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    answer = {"outcome": outcome, "seconds": time.process_time() - begun, "bytes": taken * 1024}
    os.write(pipe, json.dumps(answer).encode()[-60_000:])


def main() -> None:
    for line in sys.stdin:
        folder, reader, cpu_seconds, memory = json.loads(line)
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            os.close(receive)
            try:
                in_child(Path(folder), reader, cpu_seconds, memory, send)
            finally:
                os._exit(0)
        os.close(send)
        with os.fdopen(receive, "rb") as pipe:
            content = pipe.read()
        _, status = os.waitpid(child, 0)
        if not content:
            content = json.dumps({"outcome": f"died: {status}", "seconds": 0.0, "bytes": 0}).encode()
        print(content.decode(), flush=True)


if __name__ == "__main__":
    main()
