"""A comparison's folder."""

import os
from contextlib import contextmanager

import pytest

from lossarium.errors import LossariumError
from lossarium.trial.folder import agree, locked_output, read_toml, trial_name


@contextmanager
def without_roots_powers(*folders):
    """Root may write anywhere, so a test that runs as root becomes nobody for a moment."""
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


def test_a_folder_is_claimed_once_at_a_time_and_free_afterwards(tmp_path):
    with (
        locked_output(tmp_path, 0),
        pytest.raises(LossariumError, match="another process"),
        locked_output(tmp_path, 0),
    ):
        pass
    with locked_output(tmp_path, 0):
        pass


def test_a_folder_without_room_is_refused(tmp_path):
    with (
        pytest.raises(LossariumError, match=r"needs about 1000000000000 MB"),
        locked_output(tmp_path / "out", 10**18),
    ):
        pass
    assert not (tmp_path / "out").exists()


def test_settings_are_written_once_and_then_held_against_what_is_there(tmp_path):
    path = tmp_path / "comparison.toml"
    table = {"losses": ["mse", "mae"], "recipe": {"steps": 5}, "environment": {"torch": "1"}}
    agree(path, table)
    agree(path, {**table, "environment": {"torch": "2"}})
    with pytest.raises(LossariumError, match=r"losses: mse, mae there, mse now; steps: 5 there, 6 now"):
        agree(path, {**table, "losses": ["mse"], "recipe": {"steps": 6}})
    with pytest.raises(LossariumError, match=r"seeds: none there, 3 now"):
        agree(path, {**table, "seeds": 3})
    assert read_toml(path) == table


def test_damaged_settings_are_named(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text("losses = [")
    with pytest.raises(LossariumError, match=r"comparison\.toml is damaged"):
        agree(path, {"losses": []})


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
