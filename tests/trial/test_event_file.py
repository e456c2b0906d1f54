"""Event files for TensorBoard, read back record by record."""

import builtins
import errno
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from lossarium.errors import LossariumError
from lossarium.trial.event_file import EventFile, require_tensorboard, scalars_of


def events_of(trial: Path) -> list[Event]:
    """All events in the order in which TensorBoard reads them, all checksums checked."""
    events = []
    for path in sorted((trial / "tensorboard").iterdir()):
        data, offset = path.read_bytes(), 0
        while offset < len(data):
            (length,), header = struct.unpack_from("<Q", data, offset), data[offset : offset + 8]
            assert struct.unpack_from("<I", data, offset + 8)[0] == masked_crc32c(header)
            body = data[offset + 12 : offset + 12 + length]
            assert struct.unpack_from("<I", data, offset + 12 + length)[0] == masked_crc32c(body)
            events.append(Event.FromString(body))
            offset += 16 + length
    return events


def shown(trial: Path) -> dict[str, list[tuple[int, object]]]:
    """Tag -> step and value, as TensorBoard shows them: a start forgets its step and all later ones."""
    values: dict[str, list[tuple[int, object]]] = {}
    for event in events_of(trial):
        if event.session_log.status == SessionLog.START:
            for tag in values:
                values[tag] = [(step, value) for step, value in values[tag] if step < event.step]
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            content = value.tensor.string_val[0].decode() if kind == "tensor" else getattr(value, kind)
            values.setdefault(value.tag, []).append((event.step, content))
    return values


def row(step, loss=0.5):
    terms = {"ssim": loss - 0.1, "0.5*mae": 0.1}
    return {"step": step, "loss": loss, "terms": terms, "gradient_norm": 2.0, "learning_rate": 1e-3}


def test_numbers_of_a_row():
    assert scalars_of({"step": 1, "seconds": 2.0, "control": {"learning_rate": 1e-5}}) == {}
    assert scalars_of(row(1, 0.6)) == {
        "loss": 0.6,
        "gradient_norm": 2.0,
        "learning_rate": 1e-3,
        "terms/ssim": 0.5,
        "terms/0.5*mae": 0.1,
    }
    scores = {"reconstruction/psnr": [20.0, 24.0]}
    assert scalars_of({"step": 1, "held_out": scores}) == {"held_out/reconstruction/psnr": 22.0}


def test_scalars_are_of_the_pictures_that_every_evaluation_judges():
    sample = {"reconstruction": [1, 2]}
    scores = {"reconstruction/psnr": [50.0, 20.0, 24.0]}
    whole = {"step": 1, "held_out": scores, "judged": "all", "sample": sample}
    assert scalars_of(whole) == {"held_out/reconstruction/psnr": 22.0}
    looks = {
        "step": 1,
        "held_out": {"reconstruction/psnr": [20.0, 24.0]},
        "judged": "sample",
        "sample": sample,
    }
    assert scalars_of(looks) == {"held_out/reconstruction/psnr": 22.0}


def test_writes_scalars_events_and_sheets(tmp_path):
    events = EventFile(tmp_path, pytest.fail)
    events.event("the checkpoint was damaged")
    events.record(row(1))
    events.record({"step": 2, "passed_over": {"ssim": None}, "learning_rate": 1e-3})
    events.record({"step": 2, "held_out": {"swap/lpips": [0.25, 0.75]}})
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    events.sheet(encoded.getvalue(), pixels)
    events.record({"step": 2, "finished": True})
    values = shown(tmp_path)
    assert values["loss"] == [(1, 0.5)]
    assert [step for step, _ in values["learning_rate"]] == [1, 2]
    assert values["held_out/swap/lpips"] == [(2, 0.5)]
    texts = values["events/text_summary"]
    assert texts[0] == (1, "the checkpoint was damaged")
    assert texts[1][0] == 2
    assert "skipped" in texts[1][1]
    ((step, image),) = values["preview"]
    assert (step, image.height, image.width) == (2, 4, 6)
    with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        assert np.array_equal(np.asarray(picture), pixels)
    metadata = [v.metadata.plugin_data.plugin_name for e in events_of(tmp_path) for v in e.summary.value]
    assert metadata.count("text") == 2


def test_resuming_repeats_no_step(tmp_path):
    for first in (1, 4):
        events = EventFile(tmp_path, pytest.fail)
        for step in range(first, first + 6):
            events.record(row(step, loss=0.1 * first))
        events.close()
    losses = shown(tmp_path)["loss"]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [round(value, 6) for _, value in losses] == [0.1] * 3 + [0.4] * 6


def test_a_finished_trial_gets_no_more_files(tmp_path):
    EventFile(tmp_path, pytest.fail).record({"step": 12, "finished": True})
    assert not (tmp_path / "tensorboard").exists()


def test_steps_that_were_rolled_back_are_forgotten(tmp_path):
    events = EventFile(tmp_path, pytest.fail)
    for step in range(1, 10):
        events.record(row(step))
    events.record({"step": 5, "went_back": {"from": 9, "term": "ssim", "learning_rate_factor": 0.5}})
    events.event("back to step 5")
    for step in (6, 7):
        events.record(row(step, loss=0.25))
    events.close()
    values = shown(tmp_path)
    assert values["loss"] == [(step, 0.5) for step in range(1, 6)] + [(6, 0.25), (7, 0.25)]
    assert values["events/text_summary"] == [(5, "back to step 5")]


def test_a_full_disk_is_reported_once_and_retried_later(tmp_path, monkeypatch):
    now, told, full = 1000.0, [], True
    monkeypatch.setattr("lossarium.trial.event_file.time.monotonic", lambda: now)
    real = builtins.open

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device") if data else None

    monkeypatch.setattr(builtins, "open", lambda *a, **k: Full() if full else real(*a, **k))
    events = EventFile(tmp_path, told.append)
    for step in (1, 2, 3):
        events.record(row(step))
    assert len(told) == 1
    assert "No space left on device" in told[0]
    full = False
    events.record(row(4))
    now += 20
    events.record(row(5))
    events.close()
    monkeypatch.undo()
    assert [step for step, _ in shown(tmp_path)["loss"]] == [5]


def test_names_sort_and_say_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("lossarium.trial.event_file.time.time", lambda: 1700000000.7)
    for step in (1, 2, 3):
        events = EventFile(tmp_path, pytest.fail)
        events.record(row(step))
        events.close()
    names = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert names == [f"events.out.tfevents.1700000000.00000{number}" for number in range(3)]


def test_without_the_package_it_is_named(monkeypatch):
    require_tensorboard()
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(LossariumError, match=r"pip install 'lossarium\[tensorboard\]'"):
        require_tensorboard()
