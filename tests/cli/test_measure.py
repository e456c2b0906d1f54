"""`lossarium measure`: pictures measured against references."""

import csv
import io
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lossarium import losses
from lossarium.cli.main import main
from lossarium.judging.held_out import as_tensor
from lossarium.losses.perceptual import lpips_weights
from tests.bounds import rounding_error
from tests.cli.terminal_output import printed

EXAMPLE = Path(__file__).parents[1] / "golden" / "lpips"
REF, P0, P1 = (EXAMPLE / f"ex_{name}.png" for name in ("ref", "p0", "p1"))


def noise(path: Path, size=(40, 48), seed=0, mode="RGB", **options) -> Path:
    """A picture of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(pixels.squeeze()).save(path, **options)
    return path


def tensor(path: Path) -> torch.Tensor:
    return as_tensor(np.array(Image.open(path).convert("RGB"))[None])


def single(value) -> np.float32:
    """What is printed has as many digits as tell one float32 from the next."""
    return np.float32(float(value))


def measured(capsys, *command) -> dict:
    assert main(["measure", *map(str, command), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *command) -> str:
    assert main(["measure", *map(str, command)]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("lossarium: error: ")
    return shown.err


def folders(parent: Path) -> tuple[Path, Path]:
    """Truths and tests, of different endings."""
    for seed, name in enumerate(("1", "2", "10", "deep/1")):
        noise(parent / "truth" / f"{name}.png", seed=seed)
        noise(parent / "test" / f"{name}.webp", seed=seed + 9, lossless=True)
    return parent / "truth", parent / "test"


def test_lpips_is_that_of_the_published_example(capsys):
    for path, published in ((P0, 0.722), (P1, 0.138)):
        values = measured(capsys, REF, path, "--losses", "lpips")["pairs"][0]["values"]
        # Half of the last place.
        assert values["lpips"] == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("name", losses.names())
def test_values_equal_the_functions(capsys, name):
    values = measured(capsys, REF, P1, "--losses", name)["pairs"][0]["values"]
    # The test picture is the input, which decides the sign of a bias.
    expected = losses.info(name).function(tensor(P1), tensor(REF))
    assert single(values[name]) == single(expected)
    assert list(values) == [name]


def test_specs_options_and_sums(capsys):
    specs = "0.5*mse + mae, ssim(window=7, color=gray), psnr"
    values = measured(capsys, REF, P0, "--losses", specs)["pairs"][0]["values"]
    a, b = tensor(P0), tensor(REF)
    assert list(values) == ["0.5*mse + mae", "ssim(color=gray, window=7)", "psnr"]
    assert [single(value) for value in values.values()] == [
        single(0.5 * losses.mse(a, b) + losses.mae(a, b)),
        single(losses.ssim(a, b, window=7, color="gray")),
        single(losses.info("psnr").function(a, b)),
    ]


def test_all_measures_everything_and_explains_gaps(capsys, tmp_path):
    pair = [noise(tmp_path / f"{seed}.png", (40, 12), seed) for seed in (0, 1)]
    result = measured(capsys, *pair, "--losses", "all")
    values = result["pairs"][0]["values"]
    assert tuple(values) == losses.names()
    assert values["lpips"] is None
    assert single(values["mae"]) == single(losses.mae(*map(tensor, pair)))
    (note,) = (note for note in result["notes"] if note.startswith("lpips has no value"))
    assert "sides of at least" in note


def test_default_measures_may_lack_a_value_but_not_requested_ones(capsys, tmp_path, monkeypatch):
    pair = [noise(tmp_path / f"{seed}.png", (40, 12), seed) for seed in (0, 1)]
    lines = printed(["measure", *pair], capsys, monkeypatch)
    assert "-" in lines[3].split()
    assert any("lpips has no value" in line for line in lines)
    error = refused(capsys, *pair, "--losses", "all, lpips")
    assert "lpips cannot measure" in error
    assert "1.png" in error


def test_missing_weights_are_an_error_if_requested(capsys, monkeypatch):
    monkeypatch.delenv("LOSSARIUM_WEIGHTS", raising=False)
    # Whatever is installed here.
    monkeypatch.setitem(sys.modules, "lpips", None)
    lpips_weights._prepared.cache_clear()
    assert "LOSSARIUM_WEIGHTS" in refused(capsys, REF, P0, "--losses", "lpips(net=vgg)")


def test_folders_are_matched_by_name_in_natural_order_and_averaged(capsys, tmp_path):
    truth, test = folders(tmp_path)
    result = measured(capsys, truth, test, "--losses", "mae,psnr")
    assert [pair["pair"] for pair in result["pairs"]] == ["1", "2", "10", "deep/1"]
    for pair in result["pairs"]:
        expected = losses.mae(tensor(Path(pair["test"])), tensor(Path(pair["reference"])))
        assert single(pair["values"]["mae"]) == single(expected)
        assert (pair["width"], pair["height"]) == (40, 48)
    for name in ("mae", "psnr"):
        values = [pair["values"][name] for pair in result["pairs"]]
        # All are printed in as many digits as float32 has.
        assert result["mean"][name] == pytest.approx(sum(values) / 4, rel=rounding_error(2, torch.float32))


def test_lossariums_own_facesets_are_measured_inside_the_face(capsys, tmp_path):
    bundled = Path(str(files("lossarium.facesets"))) / "bundled"
    for identity in ("ada", "ben"):
        (tmp_path / identity).mkdir()
        for frame in sorted((bundled / identity / "frames").iterdir())[:2]:
            shutil.copy(frame, tmp_path / identity)
    result = measured(
        capsys, tmp_path / "ada", tmp_path / "ben", "--losses", "mae", "--mask", bundled / "ada"
    )
    first = result["pairs"][0]
    face = Image.open(bundled / "ada" / "masks" / "0000.png").getchannel("R")
    weight = as_tensor(np.array(face)[None, ..., None])
    expected = losses.mae(tensor(Path(first["test"])), tensor(Path(first["reference"])), weight=weight)
    assert single(first["values"]["mae"]) == single(expected)
    # The masks themselves are in colour.
    error = refused(capsys, tmp_path / "ada", tmp_path / "ben", "--mask", bundled / "ada" / "masks")
    assert "a mask is a grey picture" in error


def test_a_mask_says_which_pixels_count(capsys, tmp_path):
    pixels = np.zeros((64, 64), np.uint8)
    pixels[10:30, 5:50] = 255
    pixels[40:, :] = 51
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    result = measured(capsys, REF, P0, "--losses", "mae,lpips", "--mask", tmp_path / "mask.png")
    weight = torch.from_numpy(pixels / np.float32(255))[None, None]
    for name, value in result["pairs"][0]["values"].items():
        expected = losses.info(name).function(tensor(P0), tensor(REF), weight=weight)
        assert single(value) == single(expected)


def test_invalid_masks_are_refused(capsys, tmp_path):
    truth, test = folders(tmp_path)
    small = noise(tmp_path / "small.png", (8, 8), mode="L")
    error = refused(capsys, truth, test, "--mask", small)
    assert "small.png is 8 x 8" in error
    assert "40 x 48" in error
    Image.new("L", (40, 48)).save(tmp_path / "black.png")
    assert "black everywhere" in refused(capsys, truth, test, "--mask", tmp_path / "black.png")
    assert "in colour" in refused(capsys, truth, test, "--mask", noise(tmp_path / "colour.png"))
    assert "transparency" in refused(capsys, truth, test, "--mask", noise(tmp_path / "a.png", mode="RGBA"))
    noise(tmp_path / "masks" / "1.png", mode="L")
    error = refused(capsys, truth, test, "--mask", tmp_path / "masks")
    assert "3 pairs have no mask" in error
    assert "deep/1" in error
    assert "is a folder" in refused(capsys, REF, P0, "--mask", tmp_path / "masks")


def test_pictures_of_other_sizes_are_refused_with_both(capsys, tmp_path):
    first, second = noise(tmp_path / "a.png", (40, 48)), noise(tmp_path / "b.png", (48, 40))
    error = refused(capsys, first, second)
    assert "a.png is 40 x 48 pixels" in error
    assert "b.png is 48 x 40" in error


def test_pictures_without_a_partner_are_named(capsys, tmp_path):
    truth, test = folders(tmp_path)
    (test / "10.webp").unlink()
    error = refused(capsys, truth, test)
    assert "1 picture has no partner" in error
    assert "truth/10.png" in error
    noise(test / "3.png")
    error = refused(capsys, truth, test)
    assert "truth/10.png" in error
    assert "test/3.png" in error
    (test / "3.png").rename(test / "10.png")
    noise(test / "2.jpg")
    error = refused(capsys, truth, test)
    assert "2.jpg" in error
    assert "2.webp" in error


def test_pictures_that_form_no_pair_are_refused(capsys, tmp_path):
    truth, _ = folders(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("dear diary")
    assert "is a folder and" in refused(capsys, truth, REF)
    assert "missing.png does not exist" in refused(capsys, REF, tmp_path / "missing.png")
    assert "holds no pictures" in refused(capsys, truth, tmp_path / "empty")
    assert "text.png" in refused(capsys, REF, tmp_path / "text.png")
    assert "did you mean ssim" in refused(capsys, REF, P0, "--losses", "sim")
    assert "the name of a loss" in refused(capsys, REF, P0, "--losses", "mse,,mae")


def test_links_out_of_a_folder_are_refused(capsys, tmp_path):
    truth, test = folders(tmp_path)
    (test / "1.webp").unlink()
    (test / "1.png").symlink_to(REF)
    assert "leads out of the folder" in refused(capsys, truth, test)


def test_pictures_are_read_as_everywhere_here(capsys, tmp_path):
    # Grey against colour, 16 bits, transparency on mid-grey, EXIF's way up.
    grey = np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "colour.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    turned = Image.fromarray(grey).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("colour", "deep", "turned"):
        values = measured(capsys, tmp_path / "grey.png", tmp_path / f"{name}.png", "--losses", "linf")[
            "pairs"
        ][0]["values"]
        assert values == {"linf": 0}
    Image.new("RGBA", (48, 40), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (48, 40), (128, 128, 128)).save(tmp_path / "mid.png")
    result = measured(capsys, tmp_path / "mid.png", tmp_path / "clear.png", "--losses", "linf")
    assert result["pairs"][0]["values"] == {"linf": 0}
    assert any("composited on mid-grey" in note for note in result["notes"])


def test_a_large_jpeg_is_not_shrunk(capsys, tmp_path):
    path = noise(tmp_path / "large.jpg", (1000, 700), quality=95)
    pair = measured(capsys, path, path, "--losses", "mae")["pairs"][0]
    assert (pair["width"], pair["height"]) == (1000, 700)


def test_csv_has_a_line_a_pair_and_the_mean(capsys, tmp_path):
    truth, test = folders(tmp_path)
    result = measured(capsys, truth, test, "--losses", "mae,ssim")
    out = tmp_path / "scores.csv"
    assert main(["measure", str(truth), str(test), "--losses", "mae,ssim", "--output", str(out)]) == 0
    shown = capsys.readouterr()
    assert not shown.out
    assert "1 minus" in shown.err
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["pair"] for row in rows] == ["1", "2", "10", "deep/1", "mean"]
    for row, pair in zip(rows, (*result["pairs"], {"values": result["mean"]}), strict=True):
        assert {name: float(row[name]) for name in ("mae", "ssim")} == pair["values"]


def test_missing_values_are_empty_in_csv(capsys, tmp_path):
    pair = [noise(tmp_path / f"{seed}.png", (40, 12), seed) for seed in (0, 1)]
    assert main(["measure", *map(str, pair), "--losses", "all", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["lpips"] == ""
    assert float(row["mse"]) > 0


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_of_all_fits_any_width_and_cuts_no_number(capsys, monkeypatch, tmp_path, width):
    truth, test = folders(tmp_path)
    lines = printed(["measure", truth, test, "--losses", "all"], capsys, monkeypatch, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    cells = [cell for line in lines if line.split()[:1] == ["deep/1"] for cell in line.split()[1:]]
    assert len(cells) == len(losses.names())
    lines = printed(["measure", REF, P0, "--losses", "all"], capsys, monkeypatch, width)
    assert max(map(len, lines)) <= width
    for name in losses.names():
        assert any(line.split()[:1] == [name] for line in lines)


def test_the_table_says_that_ssim_is_a_loss_and_which_way_is_better(capsys, monkeypatch):
    lines = printed(["measure", REF, P0, "--losses", "psnr,ssim,mbe"], capsys, monkeypatch)
    assert lines[1].split() == ["psnr", "↑", "ssim", "↓", "mbe", "→0"]
    assert any(line.startswith("ssim is a loss: 1 minus the usual similarity") for line in lines)


def test_a_table_in_a_file_has_its_columns_side_by_side(tmp_path):
    out = tmp_path / "scores.txt"
    assert main(["measure", str(REF), str(P0), "--losses", "all", "--output", str(out)]) == 0
    heading = next(line for line in out.read_text().splitlines() if "mse" in line)
    assert set(losses.names()) <= set(heading.split())


def test_an_output_that_cannot_be_written_is_refused_at_once(capsys, tmp_path):
    assert "--output" in refused(capsys, REF, "missing.png", "--output", tmp_path / "no" / "scores.csv")
    assert "--output" in refused(capsys, REF, "missing.png", "--output", tmp_path)


def test_linked_folders_are_followed_on_request(tmp_path, capsys):
    for folder in ("ref", "test"):
        noise(tmp_path / folder / "0.png")
        noise(tmp_path / f"more {folder}" / "1.png", seed=1)
        (tmp_path / folder / "more").symlink_to(tmp_path / f"more {folder}", target_is_directory=True)
    command = (tmp_path / "ref", tmp_path / "test", "--losses", "mae")
    found = measured(capsys, *command)
    assert len(found["pairs"]) == 1
    assert "1 linked folder is not followed (more)" in found["notes"][0]
    found = measured(capsys, *command, "--follow-links")
    assert [pair["pair"] for pair in found["pairs"]] == ["0", "more/1"]
