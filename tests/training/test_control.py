"""`control.toml` and `control.jsonl`: whatever is in them is either meant or refused in a sentence."""

import json

import pytest

from lossarium.errors import LossariumError
from lossarium.training.control import Control, Settings, checked

SETTINGS = Settings(1e-3, "mse", "constant")


def row(**values):
    return json.dumps({"step": 3, "changes": {"learning_rate": 0.5}, "digest": "ab", **values})


def test_past_changes_are_made_again_at_their_steps(tmp_path):
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
def test_a_mistake_in_the_file_is_told_once_and_changes_nothing(tmp_path, text):
    (tmp_path / "control.toml").write_text(text + "\n")
    told = []
    control = Control(tmp_path, told.append)
    assert control.before(1, SETTINGS) == SETTINGS
    assert control.before(2, SETTINGS) == SETTINGS
    assert len(told) == 1
    assert "control.toml is ignored" in told[0]
    assert not (tmp_path / "control.jsonl").exists()


def test_whole_numbers_are_taken_as_floats():
    assert checked({"eye_multiplier": 3}) == {"eye_multiplier": 3.0}
