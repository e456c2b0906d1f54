"""`control.toml` and `control.jsonl`: any content is either applied or refused in one sentence."""

import io
import json
import sys
from dataclasses import replace

import pytest

from lossarium.errors import LossariumError
from lossarium.training.configuration import RegionWeights
from lossarium.training.control import Control, Settings, checked

SETTINGS = Settings(1e-3, "mse", "constant")


def row(**values):
    return json.dumps({"step": 3, "changes": {"learning_rate": 0.5}, "digest": "ab", **values})


def test_past_changes_are_repeated_at_their_steps(tmp_path):
    (tmp_path / "control.jsonl").write_text(row() + "\n")
    control = Control(tmp_path, pytest.fail)
    assert control.before(2, SETTINGS) == SETTINGS
    assert control.before(3, SETTINGS).learning_rate == 0.5


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"step": ' + "[" * 100_000 + "}", "it is nested too deeply"),
        ("{", "it is not JSON"),
        ("[1]", "it is not a JSON object"),
        (row(step="3"), "of another kind"),
        (row(step=float("inf")), "of another kind"),
        (row(changes=[1]), "of another kind"),
        (row(changes={"learning_rate": {"a": 1}}), "learning_rate must be a positive number"),
        (row(changes={"learning_rate": 10**400}), "learning_rate must be a positive number"),
        (row(changes={"nonsense": 1}), "there is no setting 'nonsense'"),
    ],
    ids=lambda text: text[:30],
)
def test_a_damaged_line_of_the_log_is_named(tmp_path, line, what):
    (tmp_path / "control.jsonl").write_text(f"{row()}\n{line}\n")
    with pytest.raises(LossariumError, match=r"control\.jsonl is damaged in line 2 \(") as caught:
        Control(tmp_path, pytest.fail)
    assert what in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate = " + "[" * 5_000,
        "learning_rate = " + "9" * 390,
        "learning_rate = nan",
        "mouth_multiplier = -1",
    ],
    ids=lambda text: text[:30],
)
def test_a_mistake_in_the_file_is_reported_once_and_changes_nothing(tmp_path, text):
    (tmp_path / "control.toml").write_text(text + "\n")
    told = []
    control = Control(tmp_path, told.append)
    assert control.before(1, SETTINGS) == SETTINGS
    assert control.before(2, SETTINGS) == SETTINGS
    assert len(told) == 1
    assert "control.toml is ignored" in told[0]
    assert not (tmp_path / "control.jsonl").exists()


def test_whole_numbers_become_floats():
    assert checked({"eye_multiplier": 3}) == {"eye_multiplier": 3.0}


def test_a_change_is_logged_takes_effect_and_is_made_again_at_the_same_step(tmp_path):
    control = Control(tmp_path, pytest.fail)
    assert control.before(1, SETTINGS) == SETTINGS
    (tmp_path / "control.toml").write_text('learning_rate = 0.5\nschedule = "step( every=7 )"\n')
    changed = control.before(2, SETTINGS)
    assert changed == Settings(0.5, "mse", "step(every=7)")
    # A changed file is applied once: later changes by training stay.
    lowered = replace(changed, learning_rate=0.25)
    assert control.before(3, lowered) == lowered
    (line,) = (tmp_path / "control.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["step"], logged["changes"]) == (2, {"learning_rate": 0.5, "schedule": "step(every=7)"})

    # A trial that goes on from step 1 makes it again at step 2, and not once more from the file.
    again = Control(tmp_path, pytest.fail)
    assert again.before(1, SETTINGS) == SETTINGS
    assert again.before(2, SETTINGS) == changed
    assert again.before(3, lowered) == lowered
    (tmp_path / "control.toml").write_text('loss = "mae"\n')
    assert again.before(4, lowered) == replace(lowered, loss="mae")
    assert len((tmp_path / "control.jsonl").read_text().splitlines()) == 2
    # The next one reads both from the log.
    last = Control(tmp_path, pytest.fail)
    assert last.before(2, SETTINGS) == changed
    assert last.before(4, lowered).loss == "mae"


def test_settings_that_the_trial_cannot_have_are_ignored_and_told(tmp_path):
    def check(settings):
        if settings.eye_multiplier != 1:
            raise LossariumError("no landmarks")

    (tmp_path / "control.toml").write_text("eye_multiplier = 3\nlearning_rate = 0.5\n")
    told = []
    assert Control(tmp_path, told.append, check).before(1, SETTINGS) == SETTINGS
    assert len(told) == 1
    assert told[0].endswith("control.toml is ignored: no landmarks")


def test_the_beginning_of_a_line_is_cut_off_and_whole_lines_stay(tmp_path):
    log = tmp_path / "control.jsonl"
    whole = f"{row()}\n{row(step=5, changes={'loss': 'mae'})}\n"
    log.write_text(whole + row(step=7)[:20])
    control = Control(tmp_path, pytest.fail)
    assert log.read_text() == whole
    assert control.before(5, SETTINGS).loss == "mae"


def test_a_disk_that_takes_half_a_line_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    class HalfFile(io.FileIO):
        def write(self, row):
            return super().write(row[: len(row) // 2])

    before = row() + "\n"
    (tmp_path / "control.jsonl").write_text(before)
    (tmp_path / "control.toml").write_text("learning_rate = 0.5\n")
    told = []
    control = Control(tmp_path, told.append)
    monkeypatch.setattr(type(tmp_path), "open", lambda path, mode, **_: HalfFile(path, mode))
    assert control.before(4, SETTINGS) == SETTINGS
    assert control.before(5, SETTINGS) == SETTINGS
    monkeypatch.undo()
    assert (tmp_path / "control.jsonl").read_text() == before
    assert len(told) == 1
    assert "waits" in told[0]
    assert control.before(6, SETTINGS).learning_rate == 0.5
    assert json.loads((tmp_path / "control.jsonl").read_text().splitlines()[-1])["step"] == 6


def test_settings_say_how_much_regions_count():
    assert SETTINGS.region_weights == RegionWeights()
    assert Settings(1e-3, "mse", "constant", True, 3.0, 0.5).region_weights == RegionWeights(True, 3.0, 0.5)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("loss", "mae+0.5*mse", "mae + 0.5*mse"),
        ("schedule", " cosine( warmup=5 ) ", "cosine(warmup=5)"),
        ("mask_loss", False, False),
        ("mouth_multiplier", 0.5, 0.5),
    ],
)
def test_values_are_read(name, value, read):
    assert checked({name: value}) == {name: read}


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", 3), ("schedule", 3), ("mask_loss", 1), ("eye_multiplier", True), ("learning_rate", 0)],
)
def test_values_of_another_kind_are_refused(name, value):
    with pytest.raises(LossariumError, match=f"{name} must be "):
        checked({name: value})


def test_an_own_loss_that_was_edited_since_it_was_read_is_refused(tmp_path, monkeypatch):
    """The process would run the old code, and record the digest of the new one."""
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "steered_loss.py"
    source.write_text("def far(input, target, *, k: float = 2.0):\n    return (input - target).abs() ** k\n")
    told = []
    control = Control(tmp_path, told.append)
    own = replace(SETTINGS, loss="steered_loss:far")
    assert control.before(1, own) == own
    source.write_text(source.read_text() + "# edited\n")
    (tmp_path / "control.toml").write_text('loss = "steered_loss:far(k=3)"\n')
    assert control.before(2, own) == own
    assert f"{source} (the loss steered_loss:far) changed since this process read it" in told[0]
    # A change of the loss does not affect it.
    (tmp_path / "control.toml").write_text('loss = "mae"\n')
    assert control.before(3, own).loss == "mae"
    sys.modules.pop("steered_loss")
