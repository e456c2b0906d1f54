"""Output folders inside input folders, where the next command would read the output."""

import pytest

from lossarium.errors import LossariumError
from lossarium.facesets.output_folder import refuse_output_in_faceset, refuse_output_in_pictures


def test_an_output_in_the_pictures_is_refused_through_links_too(tmp_path):
    pictures = tmp_path / "ada"
    (pictures / "more").mkdir(parents=True)
    (tmp_path / "link").symlink_to(pictures / "more")
    for out in (pictures, pictures / "out", tmp_path / "link" / "out", pictures / ".." / "ada" / "x"):
        with pytest.raises(LossariumError, match="would be taken for input the next time"):
            refuse_output_in_pictures(out, pictures)
    for out in (tmp_path / "ada-out", tmp_path, pictures / ".." / "out"):
        refuse_output_in_pictures(out, pictures)


def test_pictures_where_a_trial_writes_its_own_are_refused(tmp_path):
    for name in ("previews", "trials/mse-seed0/previews"):
        with pytest.raises(LossariumError, match="which the output is written to"):
            refuse_output_in_pictures(tmp_path / "out", tmp_path / "out" / name)
    refuse_output_in_pictures(tmp_path / "out", tmp_path / "out" / "faces")


def test_an_output_in_a_faceset_is_refused(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "faceset.toml").touch()
    with pytest.raises(LossariumError, match="lies in the input"):
        refuse_output_in_faceset(tmp_path / "ada" / "frames" / "new")
    # An existing faceset is refused by `lossarium faces`.
    refuse_output_in_faceset(tmp_path / "ada")
    refuse_output_in_faceset(tmp_path / "new")
