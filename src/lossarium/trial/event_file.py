"""Write a trial's rows, events and sheets for TensorBoard, to TRIAL/tensorboard (extra `tensorboard`).

Records are written directly, not through tensorboardX's SummaryWriter: that hands them to a thread, which
dies on a full disk, and then waits for it for ever.
Format: TensorBoard's event.proto and summary.proto, one length-prefixed and checksummed record per event.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossarium.errors import LossariumError
from lossarium.training.records import Row, sampled_scores
from lossarium.trial.pictures import Pictures

FOLDER = "tensorboard"
_SECONDS_BETWEEN_FLUSHES = 5.0
_SECONDS_BETWEEN_TRIES = 15.0
_MOST_WAITING = 100
_SECONDS_BETWEEN_COMPLAINTS = 600.0


def require_tensorboard() -> None:
    """Check that the package tensorboardX is installed.

    Raises:
        LossariumError: it is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise LossariumError(
            "--tensorboard needs the package tensorboardX; install it with "
            "pip install 'lossarium[tensorboard]'"
        ) from None


class EventFile:
    """Writes what TensorBoard shows of one trial.

    Scalars: loss, terms/TERM, gradient_norm, learning_rate, held_out/TASK/JUDGE (means over the frames).
    Text: events. Images: preview.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Write nothing before the first row.

        Args:
            folder: The trial's.
            tell: Called with the reason, at most every ten minutes, while nothing can be written.
        """
        self._folder, self._tell = folder / FOLDER, tell
        self._records: Any = None
        self._step = 0
        self._waiting: list[str] = []
        self._flushed_at = self._failed_at = self._complained_at = -math.inf

    def record(self, row: Row) -> None:
        """Write the numbers of a row of metrics.jsonl."""
        if row.get("finished"):
            self.close()
            return
        self._step = row["step"]
        if "went_back" in row:
            self.close()
            self._begin(self._step + 1)
        elif self._records is None:
            self._begin(self._step)
        if scalars := scalars_of(row):
            self._write([{"tag": tag, "simple_value": value} for tag, value in scalars.items()])
        if "passed_over" in row:
            self.event(f"step {self._step} was skipped: its loss or gradient was not finite")

    def event(self, sentence: str) -> None:
        """Write a message to the user as text of the last step."""
        if self._records is None:
            # Before the first row, the step it belongs to is not known yet.
            self._waiting = [*self._waiting, sentence][-_MOST_WAITING:]
        else:
            self._write([_text(sentence)])

    def sheet(self, encoded: bytes, pixels: Pictures) -> None:
        """Write a preview sheet: its PNG and, for its size, its pixels."""
        height, width, colours = pixels.shape
        image = {"height": height, "width": width, "colorspace": colours, "encoded_image_string": encoded}
        self._write([{"tag": "preview", "image": image}])

    def close(self) -> None:
        """Close the file; everything is on disk then."""
        if self._records is not None:
            with suppress(OSError):
                self._records.close()
            self._records = None

    def _begin(self, step: int) -> None:
        """Open a new file; TensorBoard discards this and later steps of earlier files."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        if time.monotonic() - self._failed_at < _SECONDS_BETWEEN_TRIES:
            return
        now = time.time()
        start = SessionLog(status=SessionLog.START)
        beginning = [
            Event(wall_time=now, file_version="brain.Event:2"),
            Event(wall_time=now, step=step, session_log=start),
        ]
        try:
            self._folder.mkdir(exist_ok=True)
            # TensorBoard reads files in the order of their names.
            number = sum(1 for _ in self._folder.iterdir())
            self._records = RecordWriter(
                str(self._folder / f"events.out.tfevents.{int(now):010}.{number:06}")
            )
            for event in beginning:
                self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError as error:
            self._fail(error)
        waiting, self._waiting = self._waiting, []
        for sentence in waiting:
            self.event(sentence)

    def _write(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Write one event of the last step."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        if self._records is None:
            return
        summary = Summary(value=[Summary.Value(**value) for value in values])
        event = Event(wall_time=time.time(), step=self._step, summary=summary)
        try:
            self._records.write(event.SerializeToString())
            if time.monotonic() - self._flushed_at >= _SECONDS_BETWEEN_FLUSHES:
                self._flushed_at = time.monotonic()
                self._records.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Abandon the file. Readers stop where it is cut off and go on with the next file."""
        self.close()
        self._failed_at = time.monotonic()
        if self._failed_at - self._complained_at >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at = self._failed_at
            self._tell(f"{self._folder} cannot be written ({error.strerror or error}); training goes on")


def scalars_of(row: Row) -> dict[str, float]:
    """The numbers of a row, by the tags that TensorBoard shows.

    >>> scalars_of({"step": 50, "seconds": 3.4, "held_out": {"swap/psnr": [20.0, 22.0]}})
    {'held_out/swap/psnr': 21.0}
    """
    scalars: dict[str, float] = {
        name: row[name] for name in ("loss", "gradient_norm", "learning_rate") if name in row
    }
    scalars |= {f"terms/{term}": value for term, value in row.get("terms", {}).items()}
    # Of the pictures that every evaluation judges: the curve would jump where all of them are judged.
    scalars |= {
        f"held_out/{score}": sum(values) / len(values)
        for score, values in sampled_scores(row).items()
        if values
    }
    return scalars


def _text(sentence: str) -> Mapping[str, Any]:
    """A text value for TensorBoard's text plugin: a tensor of one string."""
    from tensorboardX.proto.summary_pb2 import SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    return {
        "tag": "events/text_summary",
        "metadata": SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        "tensor": TensorProto(dtype="DT_STRING", string_val=[sentence.encode()], tensor_shape=shape),
    }
