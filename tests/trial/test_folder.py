"""A comparison's folder."""

import os
from contextlib import contextmanager

import pytest

from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.trial.folder import (
    locked_output,
    read_toml,
    restore_toml,
    toml_bytes,
    trial_name,
    write_or_check,
    write_toml,
)


@contextmanager
def without_roots_powers(*folders):
    """Root may write anywhere, so a test that runs as root temporarily becomes another user."""
    if os.geteuid() != 0:
        yield
        return
    for folder in folders:
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission_is_refused_and_nothing_made(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    mine = [folder for folder in (tmp_path, *tmp_path.parents) if folder.stat().st_uid == os.getuid()]
    with (
        without_roots_powers(*mine),
        pytest.raises(LossariumError, match=r"cannot write to the output folder .*Permission denied"),
        locked_output(locked / "out", needed_bytes=0),
    ):
        pass
    assert list(locked.iterdir()) == []


def test_a_folder_is_locked_once_at_a_time_and_free_afterwards(tmp_path):
    with (
        locked_output(tmp_path, 0),
        pytest.raises(LossariumError, match="another process"),
        locked_output(tmp_path, 0),
    ):
        pass
    with locked_output(tmp_path, 0):
        pass


def test_a_folder_without_enough_disk_space_is_refused(tmp_path):
    with (
        pytest.raises(LossariumError, match=r"about 1000000000000 MB are needed"),
        locked_output(tmp_path / "out", 10**18),
    ):
        pass
    assert not (tmp_path / "out").exists()


def test_settings_are_written_once_and_then_compared_with_the_file(tmp_path):
    path = tmp_path / "comparison.toml"
    table = {"losses": ["mse", "mae"], "recipe": {"steps": 5}, "environment": {"torch": "1"}}
    write_or_check(path, table)
    write_or_check(path, {**table, "environment": {"torch": "2"}})
    with pytest.raises(LossariumError, match=r"losses: mse, mae there, mse now; steps: 5 there, 6 now"):
        write_or_check(path, {**table, "losses": ["mse"], "recipe": {"steps": 6}})
    with pytest.raises(LossariumError, match=r"seeds: none there, 3 now"):
        write_or_check(path, {**table, "seeds": 3})
    assert read_toml(path) == table


def test_damaged_settings_are_named(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text("losses = [")
    with pytest.raises(LossariumError, match=r"comparison\.toml is damaged"):
        write_or_check(path, {"losses": []})


TABLE = {"losses": ["mse", "mae"], "recipe": {"steps": 5}, "environment": {"torch": "1"}}


@pytest.mark.parametrize("length", [0, 1, 20, 40, -25, -1])
def test_truncated_settings_are_restored_from_their_copy(tmp_path, length):
    path, told = tmp_path / "comparison.toml", []
    write_toml(path, TABLE)
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert read_toml(path) == TABLE
    restore_toml(path, told.append)
    assert path.read_bytes() == whole
    assert told == [f"{path} was damaged; it was put back from its copy"]
    restore_toml(path, told.append)
    assert len(told) == 1


def test_a_folder_of_an_earlier_version_gets_a_copy_once_its_settings_agree(tmp_path):
    path, copy = tmp_path / "comparison.toml", tmp_path / ".comparison.toml.copy"
    write_toml(path, TABLE)
    copy.unlink()
    with pytest.raises(LossariumError, match="other settings"):
        write_or_check(path, {**TABLE, "losses": ["mse"]})
    assert not copy.exists()
    write_or_check(path, {**TABLE, "recipe": {"steps": 6}}, may_change=("recipe.steps",))
    assert copy.read_bytes() == path.read_bytes()
    path.write_bytes(path.read_bytes()[:20])
    assert read_toml(path) == TABLE


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff\x00[")])
def test_missing_and_garbled_settings_are_restored(tmp_path, spoil):
    path, told = tmp_path / "comparison.toml", []
    write_toml(path, TABLE)
    spoil(path)
    restore_toml(path, told.append)
    assert (read_toml(path), len(told)) == (TABLE, 1)


def test_a_changed_setting_is_restored_if_the_copy_agrees_with_the_command(tmp_path):
    path, told = tmp_path / "comparison.toml", []
    write_toml(path, TABLE)
    path.write_bytes(path.read_bytes().replace(b"mae", b"nae"))
    assert write_or_check(path, TABLE, tell=told.append) == {}
    assert (read_toml(path), len(told)) == (TABLE, 1)
    with pytest.raises(LossariumError, match="steps: 5 there, 6 now"):
        write_or_check(path, {**TABLE, "recipe": {"steps": 6}}, tell=told.append)


def test_settings_whose_copy_is_damaged_too_are_reported_as_damaged(tmp_path):
    path = tmp_path / "comparison.toml"
    write_toml(path, TABLE)
    path.write_bytes(b"losses = [")
    (tmp_path / ".comparison.toml.copy").write_bytes(b"")
    # An empty file is valid TOML without content.
    with pytest.raises(LossariumError, match=r"comparison\.toml is damaged: it has no environment; put back"):
        read_toml(path, needs=["environment"])
    (tmp_path / ".comparison.toml.copy").write_bytes(b"[")
    with pytest.raises(LossariumError, match=r"is damaged: .*; put back a copy of it, or move .* elsewhere"):
        write_or_check(path, TABLE)


@pytest.mark.parametrize(
    ("content", "copy", "read"),
    [
        (b"a = 1\n", b"a = 1\nb = 2\n", "copy"),
        (b"a = 2\n", b"a = 1\nb = 2\n", "content"),
        (b"a = 1\nb = 2\n", b"a = 1\n", "content"),
    ],
    ids=["cut off", "shorter", "longer"],
)
def test_the_copy_is_read_only_where_the_file_is_its_beginning(tmp_path, content, copy, read):
    (tmp_path / "trial.toml").write_bytes(content)
    (tmp_path / ".trial.toml.copy").write_bytes(copy)
    assert toml_bytes(tmp_path / "trial.toml") == {"content": content, "copy": copy}[read]


def test_a_copy_that_leads_elsewhere_is_not_read(tmp_path):
    path = tmp_path / "trial.toml"
    (tmp_path / "secret").write_text("a = 1")
    (tmp_path / ".trial.toml.copy").symlink_to(tmp_path / "secret")
    path.write_bytes(b"[")
    assert toml_bytes(path) == b"["


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("mse", "mse-seed3"),
        ("ssim + 0.5*mae", "ssim+0.5xmae-seed3"),
        ("lpips(net=alex)", "lpips_net=alex-seed3"),
    ],
)
def test_a_trials_folder_is_named_after_its_loss(loss, name):
    assert trial_name(loss, 3) == name


def test_long_specs_that_begin_alike_get_folders_of_their_own():
    first, second = (
        " + ".join(["0.12345*ssim(sigma=2.5, window=7)"] * 10 + [last]) for last in ("mse", "mae")
    )
    names = {trial_name(spec, 0) for spec in (first, second)}
    assert len(names) == 2
    assert max(map(len, names)) < 100
    # Folders of earlier versions are found by their names.
    assert trial_name("m" * 80, 0) == f"{'m' * 80}-seed0"
    assert trial_name("m" * 81, 0) == f"{'m' * 80}-2fd769da-seed0"


def test_a_trial_and_a_comparison_do_not_share_a_folder(tmp_path, capsys):
    quick = ["demo", "--steps", "1", "--size", "32", "--batch-size", "1", "--out"]
    trial, comparison = tmp_path / "trial", tmp_path / "comparison"
    for folder, table in ((trial, "trial.toml"), (comparison, "comparison.toml")):
        folder.mkdir()
        (folder / table).write_text("")
    assert main(["train", *quick, str(comparison)]) == 2
    assert f"{comparison} is the folder of a comparison" in capsys.readouterr().err
    assert main(["compare", "--seeds", "1", *quick, str(trial), "--losses", "mse"]) == 2
    assert f"{trial} is the folder of a trial" in capsys.readouterr().err
    assert [path.name for path in comparison.iterdir()] == ["comparison.toml"]


@pytest.mark.parametrize("command", [["train"], ["compare", "--seeds", "1", "--losses", "mse"]])
def test_an_output_that_is_a_file_is_refused_before_pictures_are_read(tmp_path, capsys, command):
    (tmp_path / "file").write_text("mine")
    assert main([command[0], "demo", *command[1:], "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.endswith("file is a file; choose a folder\n")
    assert (tmp_path / "file").read_text() == "mine"
