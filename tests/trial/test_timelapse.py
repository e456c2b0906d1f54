"""The time-lapse: its frames, its mark, and untrusted folders."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.judging.held_out import directions
from lossarium.models.registry import initial_model
from lossarium.provenance import DIGITAL_SOURCE_TYPE, trial_digest
from lossarium.trial import timelapse
from lossarium.trial.previews import Previews
from lossarium.trial.timelapse import write_timelapse
from tests.facesets.examples import blobs
from tests.swapping.marks import mark_of

TABLE = """\
loss = "mse"
seed = 3
recipe = {size = 16, steps = 900}
data = {first = "ada", second = "ben"}
"""


@pytest.fixture
def trial(tmp_path):
    folder = tmp_path / "trial"
    (folder / "previews").mkdir(parents=True)
    (folder / "trial.toml").write_text(TABLE)
    return folder


def sheet(folder, step, *, rows=8, columns=2, size=16, name=None):
    """A sheet of noise."""
    pixels = np.random.default_rng(step).integers(0, 256, (rows * size, columns * size, 3), dtype=np.uint8)
    path = folder / "previews" / (name or f"step_{step:08}.png")
    Image.fromarray(pixels).save(path)
    return path


def frames_of(path):
    """Every frame and how long it is shown."""
    with Image.open(path) as image:
        found = []
        for place in range(image.n_frames):
            image.seek(place)
            found.append((np.asarray(image.convert("RGB")), image.info["duration"]))
        return found


def test_shows_every_snapshot_in_order_and_the_last_one_longer(tmp_path, trial):
    for step in (1000, 20, 100):
        sheet(trial, step)
    out = tmp_path / "out.webp"
    assert write_timelapse(trial, out) == 3
    frames = frames_of(out)
    assert [milliseconds for _, milliseconds in frames] == [700, 700, 3000]
    # The bar under the header grows.
    blue = [int((pixels[46, :, 2].astype(int) - pixels[46, :, 0] > 100).sum()) for pixels, _ in frames]
    assert blue[0] < blue[1] < blue[2]


def test_exact_swaps_are_shown_where_they_are_known(tmp_path, trial):
    widths = []
    for step in (1, 2):
        sheet(trial, step)
    for columns in (0, 1, 2):
        if columns:
            sheet(trial, 9, columns=columns, name="frames.png")
        write_timelapse(trial, tmp_path / "out.webp")
        widths.append(frames_of(tmp_path / "out.webp")[0][0].shape[1])
    side = 96
    assert np.diff(widths).tolist() == [2 * (side + 4)] * 2


def test_reads_what_a_trial_writes(tmp_path, trial):
    pair = directions(blobs("ada", size=16, states=True), blobs("ben", seed=5, size=16, states=True))
    previews = Previews(pair, trial)
    for step in (1, 2):
        previews.take(initial_model("compact", size=16, identities=2, seed=step), step)
        previews.write()
    assert sorted(path.name for path in (trial / "previews").iterdir()) == [
        "frames.png",
        "step_00000001.png",
        "step_00000002.png",
    ]
    assert write_timelapse(trial, tmp_path / "out.webp") == 2


def test_few_held_out_frames_make_one_block(tmp_path, trial):
    for step in (1, 2):
        sheet(trial, step, rows=3)
    write_timelapse(trial, tmp_path / "out.webp")
    assert frames_of(tmp_path / "out.webp")[0][0].shape[1] == 2 * 14 + 2 * 96 + 4


def test_hundreds_are_thinned_out(tmp_path, trial, monkeypatch):
    monkeypatch.setattr(timelapse, "MOST_FRAMES", 5)
    for step in range(1, 30):
        sheet(trial, step, rows=1)
    assert write_timelapse(trial, tmp_path / "out.webp") == 5
    whole = (tmp_path / "out.webp").stat().st_size
    monkeypatch.setattr(timelapse, "MOST_BYTES", whole // 2)
    assert write_timelapse(trial, tmp_path / "out.webp") == 2
    steps = [step for step, _ in timelapse._thinned([(step, trial) for step in range(1, 30)], 5)]
    assert steps == [1, 8, 15, 22, 29]


@pytest.mark.parametrize("finished", [True, False])
def test_is_marked_with_its_trial(tmp_path, trial, finished):
    for step in (1, 2):
        sheet(trial, step, rows=1)
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "seconds": 0.1, "finished": True, "weights": "ab" * 32}]
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows[: 1 + finished])
    (trial / "metrics.jsonl").write_text(lines)
    write_timelapse(trial, tmp_path / "out.webp")
    digest = trial_digest(TABLE.encode(), "ab" * 32 if finished else "")
    assert mark_of(tmp_path / "out.webp") == (DIGITAL_SOURCE_TYPE, digest)


def damaged(path):
    path.write_bytes(path.read_bytes()[:-40])


def no_png(path):
    path.write_bytes(b"MZ" * 100)


def led_outside(path):
    path.rename(path.parents[2] / "elsewhere.png")
    path.symlink_to(path.parents[2] / "elsewhere.png")


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def of_another_size(path):
    Image.new("RGB", (33, 128)).save(path)


def too_tall(path):
    Image.new("RGB", (32, 16 * 9)).save(path)


@pytest.mark.parametrize("spoil", [damaged, no_png, led_outside, a_pipe, of_another_size, too_tall])
def test_a_damaged_sheet_is_named(tmp_path, trial, spoil):
    sheet(trial, 1)
    spoil(sheet(trial, 2))
    with pytest.raises(LossariumError, match=r"step_00000002\.png"):
        write_timelapse(trial, tmp_path / "out.webp")
    assert not (tmp_path / "out.webp").exists()


@pytest.mark.parametrize(
    "table",
    [
        "",
        "loss = 3",
        "not toml",
        TABLE.replace("16", "4096"),
        TABLE.replace("16", '"16"'),
        TABLE.replace("900", "0"),
        TABLE.replace('"ben"', "[]"),
        TABLE.replace("{size = 16, steps = 900}", "3"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, trial, table):
    (trial / "trial.toml").write_text(table)
    for step in (1, 2):
        sheet(trial, step)
    with pytest.raises(LossariumError, match=r"trial\.toml"):
        write_timelapse(trial, tmp_path / "out.webp")


def test_needs_a_trial_and_two_sheets(tmp_path, trial):
    with pytest.raises(LossariumError, match=r"holds no trial\.toml"):
        write_timelapse(tmp_path, tmp_path / "out.webp")
    sheet(trial, 1)
    sheet(trial, 2, name="step_2.png")
    with pytest.raises(LossariumError, match="fewer than two sheets"):
        write_timelapse(trial, tmp_path / "out.webp")
