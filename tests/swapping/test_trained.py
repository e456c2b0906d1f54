"""Reading a trial's folder, which need not be trusted."""

import os
import sys
import tomllib

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from lossarium.errors import LossariumError
from lossarium.models.registry import initial_model, weights_digest
from lossarium.swapping.trained import identity_index, load_trained
from lossarium.training.configuration import Recipe
from lossarium.trial.pinned_code import own_code
from tests.swapping.trials import SIZE, save_signed, table, write_checkpoint, write_trial


def refused(folder, **options):
    with pytest.raises(LossariumError) as caught:
        load_trained(folder, **options)
    sentence = str(caught.value)
    assert sentence.isprintable()
    return sentence


def test_reads_the_weights_the_size_and_the_identities(tmp_path):
    trained = load_trained(write_trial(tmp_path, seed=3))
    expected = initial_model("compact", size=SIZE, identities=2, seed=3)
    assert weights_digest(trained.model) == weights_digest(expected)
    assert (trained.size, trained.identities, trained.notes) == (SIZE, ("ada", "ben"), ())
    assert not trained.model.training
    assert not any(weight.requires_grad for weight in trained.model.parameters())


def test_the_digest_depends_on_the_configuration_and_on_the_weights_alone(tmp_path):
    first, again, other = (
        load_trained(write_trial(tmp_path / name, seed=seed)).digest
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other
    assert len(bytes.fromhex(first)) == 32
    (tmp_path / "b" / "trial.toml").write_text(tomli_w.dumps(table(steps=6)))
    assert load_trained(tmp_path / "b").digest != first
    path = next((tmp_path / "a" / "checkpoints").iterdir())
    save_signed({**load_file(path), "schedule.x": torch.zeros(2)}, path)
    assert load_trained(tmp_path / "a").digest == first


def test_an_identity_by_its_name(tmp_path):
    trained = load_trained(write_trial(tmp_path))
    assert [identity_index(trained, name) for name in ("ada", "ben")] == [0, 1]
    with pytest.raises(LossariumError, match=r'no identity "chi"; it knows ada, ben'):
        identity_index(trained, "chi")


def test_the_newest_checkpoint_is_told_by_its_number(tmp_path):
    write_trial(tmp_path, step=999_999_99, seed=1)
    write_checkpoint(tmp_path, step=100_000_000, seed=2)
    expected = initial_model("compact", size=SIZE, identities=2, seed=2)
    assert weights_digest(load_trained(tmp_path).model) == weights_digest(expected)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def of_another_size(path):
    write_checkpoint(path.parent.parent, step=int(path.stem[5:]), size=64)


def without_a_weight(path):
    tensors = load_file(path)
    del tensors["model.encoder.0.weight"]
    save_file(tensors, path)


def not_finite(path):
    tensors = load_file(path)
    tensors["model.encoder.0.weight"][0, 0, 0, 0] = torch.nan
    save_signed(tensors, path)


def changed_by_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def enormous_header(path):
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def a_folder(path):
    path.unlink()
    path.mkdir()


def out_of_the_trial(path):
    path.replace(path.parent.parent.parent / "outside.safetensors")
    path.symlink_to(path.parent.parent.parent / "outside.safetensors")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "is damaged"),
        (changed_by_a_bit, "is damaged (its content is not what was written"),
        (of_another_size, "holds the weights of another model"),
        (without_a_weight, "holds the weights of another model"),
        (not_finite, "not finite"),
        (enormous_header, "is damaged"),
        (a_folder, "is not a regular file"),
        (out_of_the_trial, "leads out of the folder"),
    ],
)
def test_an_unusable_checkpoint_is_named_and_the_one_before_it_used(tmp_path, damage, why):
    folder = write_trial(tmp_path / "trial", step=5, seed=0)
    damage(write_checkpoint(folder, step=10, seed=1))
    trained = load_trained(folder)
    assert weights_digest(trained.model) == weights_digest(
        initial_model("compact", size=SIZE, identities=2, seed=0)
    )
    (note,) = trained.notes
    assert "step_00000010.safetensors" in note
    assert why in note
    assert note.endswith("step_00000005.safetensors is used.")
    (folder / "checkpoints" / "step_00000005.safetensors").unlink()
    assert "step_00000010.safetensors" in refused(folder)


def test_folders_that_are_not_trials_are_refused(tmp_path):
    assert "is not a folder" in refused(tmp_path / "missing")
    assert "holds no trial.toml" in refused(tmp_path)
    write_trial(tmp_path / "out" / "trials" / "mse-seed0")
    (tmp_path / "out" / "comparison.toml").touch()
    assert "trials/mse-seed0" in refused(tmp_path / "out")
    (tmp_path / "trial.toml").write_text(tomli_w.dumps(table()))
    assert "holds no checkpoint" in refused(tmp_path)


HOSTILE = {
    "not TOML": b"size = [",
    "not text": b"\xff\xfe\x00",
    "deep": b"x = " + b"[" * 50_000,
    "too large": b"#" * (2 << 20),
    "empty": b"",
    "no table": b'recipe = "compact"\ndata = 3\n',
    "an enormous size": tomli_w.dumps(table(size=10**9)).encode(),
    "a negative size": tomli_w.dumps(table(size=-16)).encode(),
    "a size that is true": tomli_w.dumps(table(size=True)).encode(),
    "a size that is text": tomli_w.dumps(table(size="32")).encode(),
    "an unknown model": tomli_w.dumps(table(model="../../etc/passwd")).encode(),
    "a model that is a list": tomli_w.dumps(table(model=["compact"])).encode(),
    "control codes": tomli_w.dumps(table(model="\x1b[2J")).encode(),
    "options that are nested": tomli_w.dumps(table(model_options={"icnr": {"a": 1}})).encode(),
    "an unknown option": tomli_w.dumps(table(model_options={"speed": 1})).encode(),
    "no identities": tomli_w.dumps({**table(), "data": {}}).encode(),
    "equal identities": tomli_w.dumps({**table(), "data": {"first": "a", "second": "a"}}).encode(),
    "an identity that is a number": tomli_w.dumps({**table(), "data": {"first": 1, "second": "a"}}).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_trial_is_refused_in_a_sentence(tmp_path, name):
    folder = write_trial(tmp_path)
    (folder / "trial.toml").write_bytes(HOSTILE[name])
    assert len(refused(folder)) < 1000


def test_links_out_of_the_trial_are_not_followed(tmp_path):
    folder = write_trial(tmp_path / "trial")
    (folder / "trial.toml").replace(tmp_path / "trial.toml")
    (folder / "trial.toml").symlink_to(tmp_path / "trial.toml")
    assert "leads out of the folder" in refused(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_block(tmp_path):
    folder = write_trial(tmp_path)
    (folder / "trial.toml").unlink()
    os.mkfifo(folder / "trial.toml")
    assert "holds no trial.toml" in refused(folder)


def test_code_named_by_a_trial_is_run_only_if_the_user_names_it_too(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(
        "from lossarium.models.compact import Compact\n"
        "def make(size, identities):\n    return Compact(size, identities)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = write_trial(tmp_path / "trial")
    (folder / "trial.toml").write_text(tomli_w.dumps(table(model="planted:make")))
    assert tomllib.loads((folder / "trial.toml").read_text())["recipe"]["model"] == "planted:make"
    assert "planted:make; if you trust that code" in refused(folder)
    assert "--own-model" in refused(folder, own_model="other:make")
    assert "planted" not in sys.modules
    assert load_trained(folder, own_model="planted:make").size == SIZE
    del sys.modules["planted"]


def test_code_that_changed_since_the_trial_is_reported(tmp_path, monkeypatch):
    source = tmp_path / "altered.py"
    text = (
        "from lossarium.models.compact import Compact\n"
        "def make(size, identities):\n    return Compact(size, identities)\n"
    )
    source.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    folder = write_trial(tmp_path / "trial")

    def notes(**recorded):
        (folder / "trial.toml").write_text(tomli_w.dumps({**table(model="altered:make"), **recorded}))
        return load_trained(folder, own_model="altered:make").notes

    begun = own_code(Recipe(model="altered:make"), [])
    assert notes() == notes(own_code=begun) == ()
    source.write_text(f"{text}# altered\n")
    (told,) = notes(own_code=begun)
    assert f"the code of the model altered:make ({source}) changed since the trial was trained" in told
    # The trial was last continued with the current code.
    now = own_code(Recipe(model="altered:make"), [])
    assert notes(own_code=begun, continued=[{"step": 1, "own_code": now}]) == ()
    for hostile in (3, {"altered:make": 3}, {}):
        assert notes(own_code=hostile) == ()
    assert notes(own_code=begun, continued=[3]) == ()
    del sys.modules["altered"]
