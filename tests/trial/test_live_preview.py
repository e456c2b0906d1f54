"""Preview sheets: their content, and that drawing them changes nothing."""

import errno
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lossarium import files
from lossarium.judging.held_out import directions
from lossarium.models.registry import initial_model, weights_digest
from lossarium.provenance import DIGITAL_SOURCE_TYPE, trial_digest
from lossarium.training.configuration import Recipe, Trial
from lossarium.trial.live_preview import LivePreview, PreviewSheets
from lossarium.trial.sheets import Block, Column, draw_sheet, picture_side
from tests.facesets.examples import blobs
from tests.swapping.marks import mark_of

TRIAL = Trial("ssim + mae", 0, Recipe(steps=100, size=32))
PAIR = directions(blobs("ada", states=True), blobs("ben", seed=5, states=True))


class Restless(nn.Module):
    """A model whose every forward in training mode leaves traces."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.BatchNorm2d(3).eval()
        self.moving = nn.BatchNorm2d(3)

    def forward(self, pictures, identities):
        del identities
        noise = torch.rand(1)
        return torch.stack([self.moving(self.kept(batch)) * 0 + noise for batch in pictures])


@pytest.fixture
def sheets(tmp_path):
    (tmp_path / "trial.toml").write_text("seed = 0")
    return PreviewSheets(TRIAL, PAIR, ("ada", "ben"), tmp_path)


def test_shows_frames_and_exact_swaps_enlarged_but_unchanged(sheets):
    model = initial_model("compact", size=32, identities=2, seed=0)
    pixels = sheets.draw(model, 3)
    side = picture_side(32, least=128, most=256)
    assert side == 128
    frame = (PAIR[0].frames[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    enlarged = frame.repeat(4, axis=0).repeat(4, axis=1)
    top = next(
        y for y in range(pixels.shape[0] - side) if np.array_equal(pixels[y : y + side, 14:142], enlarged)
    )
    exact = (PAIR[0].exact_swaps[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    left = 14 + 3 * (side + 4)
    shown = pixels[top : top + side, left : left + side]
    assert np.array_equal(shown, exact.repeat(4, axis=0).repeat(4, axis=1))


def test_without_exact_swaps_there_is_no_column_for_them(tmp_path, sheets):
    del sheets
    pair = directions(blobs("ada"), blobs("ben", seed=5))
    model = initial_model("compact", size=32, identities=2, seed=0)
    widths = [
        PreviewSheets(TRIAL, some, ("ada", "ben"), tmp_path).draw(model, 1).shape[1] for some in (PAIR, pair)
    ]
    assert widths[0] - widths[1] == 2 * (128 + 4)


def test_leaves_model_and_random_state_as_they_were(sheets):
    model = Restless()
    before, state = weights_digest(model), torch.random.get_rng_state()
    sheets.draw(model, 1)
    assert weights_digest(model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (model.training, model.moving.training, model.kept.training) == (True, True, False)


def test_the_header_says_the_last_loss(sheets):
    model = initial_model("compact", size=32, identities=2, seed=0)
    drawn = []
    for row in (
        {"step": 1, "loss": 0.3, "terms": {"mse": 0.3}},
        {"step": 1, "held_out": {}},
        {"step": 2, "loss": 0.3, "terms": {"mse": 0.2, "mae": 0.1}},
        {"step": 3, "passed_over": {"mse": None}},
    ):
        sheets.record(row)
        drawn.append(sheets.draw(model, 1)[:40])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])
    assert not np.array_equal(drawn[2], drawn[3])


@pytest.mark.parametrize("name", ["", "a\nb\x00\x1b[31m", "ä漢字🙂", "long " * 1000])
def test_names_of_any_length_fit(name):
    pictures = np.full((2, 16, 16, 3), 255, np.uint8)
    block = Block(name, (Column(name, pictures), Column("swap", pictures)))
    plain = draw_sheet("", [Block("", (Column("", pictures), Column("", pictures)))], 64, share=0.5)
    named = draw_sheet(name, [block], 64, share=0.5)
    assert named.shape == plain.shape
    assert np.array_equal(named[-14:], plain[-14:])


def test_accented_letters_lose_their_accents():
    block = Block("", (Column("", np.zeros((1, 16, 16, 3), np.uint8)),))
    assert np.array_equal(
        draw_sheet("äé", [block], 128, share=0.5), draw_sheet("ae", [block], 128, share=0.5)
    )


def test_large_pictures_are_reduced():
    assert picture_side(512, least=128, most=256) == 256
    pictures = np.full((1, 512, 512, 3), 200, np.uint8)
    sheet = draw_sheet("", [Block("", (Column("", pictures),))], 256, share=1)
    assert sheet.shape[1] == 256 + 2 * 14
    assert np.all(sheet[-100, 20:260] == 200)


def test_a_file_is_whole_and_marked_with_the_weights_that_made_it(tmp_path, sheets):
    model = initial_model("compact", size=32, identities=2, seed=0)
    pixels = sheets.draw(model, 1)
    LivePreview(tmp_path, every=60, tell=pytest.fail).write(sheets.encoded(pixels, model))
    path = tmp_path / "preview.png"
    assert mark_of(path) == (DIGITAL_SOURCE_TYPE, trial_digest(b"seed = 0", weights_digest(model)))
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_the_preview_is_due_by_the_clock(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("lossarium.trial.live_preview.time.monotonic", lambda: now)
    preview = LivePreview(tmp_path, every=60, tell=pytest.fail)
    assert preview.is_due(at_snapshot=False)
    preview.write(b"x")
    assert not preview.is_due(at_snapshot=False)
    assert preview.is_due(at_snapshot=True)
    now += 60
    assert preview.is_due(at_snapshot=False)
    assert not LivePreview(tmp_path, every=0, tell=pytest.fail).is_due(at_snapshot=True)


def test_a_full_disk_is_reported_once_and_the_old_file_stays(tmp_path, monkeypatch):
    told = []
    preview = LivePreview(tmp_path, every=60, tell=told.append)
    preview.write(b"before")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    for _ in range(3):
        preview.write(b"after")
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert "training goes on" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]
    assert (tmp_path / "preview.png").read_bytes() == b"before"


def test_few_held_out_frames_suffice(tmp_path, sheets):
    del sheets
    model = initial_model("compact", size=32, identities=2, seed=0)
    pair = directions(blobs("ada", frames=4), blobs("ben", seed=5, frames=12))
    sheet = PreviewSheets(replace(TRIAL, loss="mse"), pair, ("ada", "ben"), tmp_path).draw(model, 1)
    assert sheet.shape[0] > 3 * 128
