"""Swapping pictures: sizes, pixels, masks, colours, marks, damage."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from lossarium.errors import LossariumError
from lossarium.facesets.reading import read_picture
from lossarium.judging.held_out import as_bytes, as_tensor
from lossarium.provenance import DIGITAL_SOURCE_TYPE
from lossarium.swapping import apply
from lossarium.swapping.apply import SwapOptions, swap_pictures
from lossarium.swapping.jobs import find_jobs
from lossarium.swapping.trained import load_trained
from tests.facesets.examples import blobs
from tests.facesets.handmade_folders import save
from tests.swapping.marks import mark_of
from tests.swapping.trials import SIZE, write_trial

PLAIN = SwapOptions()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load_trained(write_trial(tmp_path_factory.mktemp("trial")))


@pytest.fixture
def folder(tmp_path):
    """in/frames with 48 x 40 pictures, in/masks with their masks."""
    faceset = blobs(frames=3, size=48)
    for name, frame, mask in zip(faceset.frame_names, faceset.frames, faceset.face_masks, strict=True):
        save(tmp_path / "in" / "frames" / f"{name}.png", frame[4:44])
        save(tmp_path / "in" / "masks" / f"{name}.png", mask[4:44])
    return tmp_path / "in"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def swapped(trained, folder, name, finish=PLAIN, *, identity=1, **options):
    """All outputs by their name."""
    jobs = find_jobs(folder, folder.parent / name)
    swap_pictures(trained, identity, jobs, finish, **options)
    return {job.output.name: pixels(job.output) for job in jobs}


def test_pictures_are_what_the_decoder_makes_and_are_marked(trained, folder):
    outputs = swapped(trained, folder, "out")
    other = swapped(trained, folder, "other", identity=0)
    assert sorted(outputs) == ["0000.png", "0001.png", "0002.png"]
    for path in sorted((folder / "frames").iterdir()):
        frame = read_picture(path, SIZE).pixels
        expected = as_bytes(trained.model(as_tensor(frame[None])[None], (1,))[0])[0]
        # A picture among others may differ in the last bit from one alone.
        assert np.abs(outputs[path.name].astype(int) - expected).max() <= 1
        assert not np.array_equal(outputs[path.name], frame)
        assert not np.array_equal(outputs[path.name], other[path.name])
        written = folder.parent / "out" / "frames" / path.name
        assert mark_of(written) == (DIGITAL_SOURCE_TYPE, trained.digest)


def test_full_size_pastes_the_face_into_the_picture(trained, folder):
    outputs = swapped(trained, folder, "out", SwapOptions(full_size=True))
    for name, output in outputs.items():
        source = pixels(folder / "frames" / name)
        assert output.shape == (40, 48, 3)
        assert np.array_equal(output[:, :4], source[:, :4])
        assert np.array_equal(output[:, 44:], source[:, 44:])
        assert not np.array_equal(output[:, 4:44], source[:, 4:44])


def test_full_size_of_a_picture_of_the_models_size_is_the_same(trained, tmp_path):
    save(tmp_path / "in" / "a.png", blobs(frames=1).frames[0])
    small = swapped(trained, tmp_path / "in", "small")["a.png"]
    full = swapped(trained, tmp_path / "in", "full", SwapOptions(full_size=True))["a.png"]
    assert np.array_equal(small, full)


@pytest.mark.parametrize("full_size", [False, True])
def test_a_blend_keeps_the_input_outside_the_mask(trained, folder, full_size):
    plain = swapped(trained, folder, "plain", SwapOptions(full_size=full_size))
    outputs = swapped(trained, folder, "out", SwapOptions(blend=True, feather=0, full_size=full_size))
    soft = swapped(trained, folder, "soft", SwapOptions(blend=True, feather=10, full_size=full_size))
    for name, output in outputs.items():
        source = folder / "frames" / name
        frame = pixels(source) if full_size else read_picture(source, SIZE).pixels
        mask = pixels(folder / "masks" / name)
        if not full_size:
            mask = np.asarray(Image.fromarray(mask[:, 4:44]).resize((SIZE, SIZE), Image.Resampling.BOX))
        assert np.array_equal(output[mask == 0], frame[mask == 0])
        assert np.array_equal(soft[name][mask == 0], frame[mask == 0])
        assert np.array_equal(output[mask == 255], plain[name][mask == 255])
        assert not np.array_equal(soft[name], output)


def test_colour_transfer_gives_the_face_the_inputs_mean(trained, folder):
    outputs = swapped(trained, folder, "out", SwapOptions(colour_transfer="lab"))
    for name, output in outputs.items():
        frame = read_picture(folder / "frames" / name, SIZE).pixels
        mask = np.asarray(
            Image.fromarray(pixels(folder / "masks" / name)[:, 4:44]).resize(
                (SIZE, SIZE), Image.Resampling.BOX
            )
        )
        means = [
            np.average(rgb2lab(picture).reshape(-1, 3), axis=0, weights=mask.ravel())
            for picture in (output, frame)
        ]
        # Levels are rounded, each by 1 / sqrt(12) of one, which a* multiplies by at most 500 * 2 * 1.2 where
        # pictures are as bright as these; no mean exceeds six deviations. scikit-image's other matrix changes
        # either mean by less than 0.005.
        assert output.min() > 38
        rounded = 500 * 2 * 1.2 / 255 / math.sqrt(12 * mask.sum() / 255)
        np.testing.assert_allclose(means[0], means[1], rtol=0, atol=6 * rounded + 2 * 0.005)


def test_a_mask_of_another_size_is_named(trained, folder):
    save(folder / "masks" / "0001.png", np.full((20, 20), 255, np.uint8))
    with pytest.raises(LossariumError, match=r"0001\.png is a mask of 20 x 20 pixels.*--skip-bad"):
        swapped(trained, folder, "out", SwapOptions(blend=True))


def damage(folder: Path) -> None:
    (folder / "frames" / "0001.png").write_bytes(b"no picture")


def test_a_damaged_picture_is_named(trained, folder):
    damage(folder)
    with pytest.raises(LossariumError, match=r"0001\.png holds no picture.*; fix or remove it, or skip it"):
        swapped(trained, folder, "out")
    # Files written before it are complete.
    assert mark_of(folder.parent / "out" / "frames" / "0000.png")[1] == trained.digest


def test_damaged_pictures_are_skipped_when_asked(trained, folder):
    damage(folder)
    jobs = find_jobs(folder, folder.parent / "out")
    told = []
    outcome = swap_pictures(
        trained, 1, jobs, PLAIN, skip_bad=True, watch=lambda done, total: told.append((done, total))
    )
    assert outcome.written == 2
    assert any("1 picture is skipped: " in note and "0001.png" in note for note in outcome.notes)
    assert any("not square" in note for note in outcome.notes)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (folder.parent / "out" / "frames").iterdir()) == [
        "0000.png",
        "0002.png",
    ]


def test_only_damaged_pictures_is_an_error(trained, folder):
    for path in (folder / "frames").iterdir():
        path.write_bytes(b"")
    with pytest.raises(LossariumError, match="no picture can be swapped"):
        swapped(trained, folder, "out", skip_bad=True)


def test_many_pictures_go_through_in_parts(trained, folder, monkeypatch):
    monkeypatch.setattr(apply, "_CHUNK", 2)
    parts = swapped(trained, folder, "parts")
    monkeypatch.setattr(apply, "_CHUNK", 16)
    whole = swapped(trained, folder, "whole")
    for name, output in parts.items():
        assert np.abs(output.astype(int) - whole[name]).max() <= 1


def test_an_interruption_leaves_complete_files_only(trained, folder):
    def stop(done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swapped(trained, folder, "out", watch=stop)
    written = sorted((folder.parent / "out" / "frames").iterdir())
    assert [path.name for path in written] == ["0000.png", "0001.png"]
    assert all(mark_of(path)[1] == trained.digest for path in written)


def test_jpeg_is_marked_too(trained, folder):
    (job,) = find_jobs(folder / "frames" / "0000.png", folder.parent / "out.jpg")
    swap_pictures(trained, 1, [job], SwapOptions(full_size=True))
    assert mark_of(job.output) == (DIGITAL_SOURCE_TYPE, trained.digest)
    assert pixels(job.output).shape == (40, 48, 3)


def test_metadata_of_the_input_is_not_carried_over(trained, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    save(tmp_path / "in" / "a.jpg", blobs(frames=1).frames[0], exif=exif, comment=b"taken at home")
    (job,) = find_jobs(tmp_path / "in" / "a.jpg", tmp_path / "out.jpg")
    swap_pictures(trained, 1, [job], SwapOptions(full_size=True))
    assert b"taken at home" in (tmp_path / "in" / "a.jpg").read_bytes()
    assert b"taken at home" not in job.output.read_bytes()


def test_a_picture_without_a_mask_is_refused_for_blending(trained, folder):
    (folder / "masks" / "0001.png").unlink()
    with pytest.raises(LossariumError, match=r"0001\.png has no mask to blend by: .*--skip-bad"):
        swapped(trained, folder, "out", SwapOptions(blend=True))
    # Without blending, colours are matched over the whole picture.
    assert len(swapped(trained, folder, "whole", SwapOptions(colour_transfer="lab"))) == 3
