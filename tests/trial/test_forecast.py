"""The forecast of time, memory and disk, and one sentence if memory runs out."""

import doctest
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.models.registry import all_options, parameter_count
from lossarium.training import rate_finder
from lossarium.training.configuration import Recipe
from lossarium.trial import folder, forecast
from lossarium.trial.forecast import announce_forecast, disk_needed, memory_needed, out_of_memory, remedies
from tests.cli.folders import pair

LARGE = Recipe(model="dfl_sae", model_options=all_options("dfl_sae", {}), size=256, batch_size=64)


def test_examples_in_docstrings():
    assert doctest.testmod(forecast).failed == 0


def test_weights_gradients_and_moments_are_counted_exactly():
    parameters = parameter_count("compact", size=64, identities=2)
    assert memory_needed(Recipe()).weights == 4 * 4 * parameters
    assert memory_needed(Recipe(optimizer="sgd")).weights == 3 * 4 * parameters


@pytest.mark.parametrize(("size", "batch"), [(32, 4), (96, 2)])
def test_what_the_smallest_model_keeps_is_known_without_running_it(size, batch):
    recipe = Recipe(size=size, model_options=all_options("compact", {}))
    known, counted = (
        count(recipe, batch, 2) for count in (forecast.activation_bytes, forecast.counted_activation_bytes)
    )
    # It is kept as a whole number of floats a pixel, rounded up.
    assert 0 <= known - counted < forecast._FLOAT_BYTES * batch * 2 * size**2


def test_activations_grow_with_the_batch_and_with_the_pictures():
    def kept(size, batch):
        return memory_needed(replace(LARGE, size=size, batch_size=batch)).activations

    small, middle, large = (kept(size, 3) - kept(size, 1) for size in (64, 128, 256))
    assert kept(64, 5) - kept(64, 3) == small > 0
    # With the area, but for codes, whose length is fixed.
    assert large - middle == 4 * (middle - small)
    assert middle > small


def test_what_cannot_fit_is_refused_with_what_does(monkeypatch):
    monkeypatch.setattr(forecast, "available_memory", lambda: 20_000_000_000)
    with pytest.raises(LossariumError) as refused:
        announce_forecast(LARGE, print)
    sentence = str(refused.value)
    assert "dfl_sae at 256 px with a batch of 64 needs at least 5" in sentence
    assert "20.0 GB are available" in sentence
    assert "--batch-size 8 --accumulation 8" in sentence
    for option, smaller in (
        ("--batch-size 8", replace(LARGE, batch_size=8)),
        ("--size 128", replace(LARGE, size=128)),
    ):
        assert option in sentence
        assert memory_needed(smaller).total <= 20_000_000_000


def test_what_may_not_fit_is_warned_of(monkeypatch):
    memory = memory_needed(Recipe())
    monkeypatch.setattr(forecast, "available_memory", lambda: memory.total - 5_000_000)
    told = []
    announce_forecast(Recipe(), told.append, disk=5_000_000)
    assert told[0].startswith("compact at 64 px with a batch of 8 takes memory about 144 MB of ")
    assert told[0].endswith("disk about 5 MB")
    assert (
        "that may be more memory than is available; this would fit: --batch-size 4 --accumulation 2"
        in told[1]
    )


def test_a_batch_in_bf16_keeps_half_and_a_copy_of_the_weights():
    recipe = Recipe(batch_size=16)
    float32, bf16 = memory_needed(recipe), memory_needed(replace(recipe, precision="bf16"))
    weights = 4 * parameter_count("compact", size=64, identities=2)
    assert bf16.activations == float32.activations // 2 + weights // 2
    assert bf16.weights == float32.weights


def test_own_models_are_forecast_like_built_in_ones(tmp_path, monkeypatch):
    """A wrapper around the smallest model, whose first layer refuses torch's meta device."""
    (tmp_path / "memory_hungry.py").write_text(
        "from lossarium.models.registry import initial_model\n"
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, size, identities):\n"
        "        super().__init__()\n"
        "        self.inner = initial_model('compact', size=size, identities=identities, seed=0)\n"
        "    def forward(self, pictures, identities):\n"
        "        if pictures.is_meta:\n"
        "            raise NotImplementedError\n"
        "        return self.inner(pictures, identities)\n"
        "def make(*, size, identities):\n"
        "    return Mine(size, identities)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = torch.get_rng_state()
    own = memory_needed(Recipe(model="memory_hungry:make", size=32))
    built_in = Recipe(size=32, model_options=all_options("compact", {}))
    assert torch.equal(torch.get_rng_state(), before)
    assert own.weights == memory_needed(built_in).weights
    assert own.activations == forecast.counted_activation_bytes(built_in, built_in.batch_size, 2)


def test_a_trial_is_refused_on_a_disk_that_is_too_full_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    command = ["train", *map(str, pair(tmp_path)), "--size", "32", "--steps", "2", "--batch-size", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "has room for 1 MB, and about" in said
    assert "MB are needed; free some space or choose another place with --out" in said
    assert not (tmp_path / "out").exists()


def test_find_lr_forecasts_memory_and_ends_with_a_sentence_if_it_runs_out(tmp_path, monkeypatch, capsys):
    command = ["find-lr", *map(str, pair(tmp_path)), "--size", "32", "--batch-size", "4", "--losses", "mse"]

    def without_memory(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(rate_finder, "loss_terms", without_memory)
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "compact at 32 px with a batch of 4 takes memory about" in said.out
    assert "there is not enough memory for compact at 32 px with a batch of 4; " in said.err
    assert "last checkpoint" not in said.err
    assert not (tmp_path / "out").exists()


def test_an_own_model_that_refuses_other_sizes_is_no_reason_to_end_otherwise(tmp_path, monkeypatch):
    (tmp_path / "stubborn.py").write_text(
        "from lossarium.models.registry import initial_model\n"
        "def make(size, identities):\n"
        "    if size != 64:\n"
        "        raise ValueError('64 pixels alone')\n"
        "    return initial_model('compact', size=size, identities=identities, seed=0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = Recipe(model="stubborn:make", size=64, batch_size=4)
    sentence = "there is not enough memory for stubborn:make"
    with pytest.raises(LossariumError, match=sentence) as caught, out_of_memory(recipe):
        raise MemoryError
    assert "64 pixels alone" not in str(caught.value)


def test_no_option_is_suggested_if_none_fits():
    assert remedies(Recipe(), 1000) == "close other programs, or use another machine"


def test_disk_grows_with_evaluations_steps_and_trials():
    few = disk_needed(Recipe(judge_every=500), held_out=100)
    many = disk_needed(Recipe(judge_every=5), held_out=100)
    # 198 more evaluations of 4 scored frames at least.
    assert many - few > 198 * 8 * 100 * 20
    # 197 more evaluations of the sample; the last three judge every frame in both.
    few = disk_needed(Recipe(judge_every=250, judged_frames=20), held_out=10_000)
    many = disk_needed(Recipe(judge_every=5, judged_frames=20), held_out=10_000)
    assert 196 * 8 * 20 * 20 < many - few < 196 * (8 * 20 * 30 + 8 * 2 * 3 * Recipe().size ** 2)
    assert disk_needed(Recipe(), held_out=100, trials=3) > disk_needed(Recipe(), held_out=100)
    assert disk_needed(Recipe(), held_out=100, trials=0) == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_out_of_memory_is_one_sentence(tmp_path, error):
    recipe = Recipe()
    with (
        pytest.raises(LossariumError, match=r"not enough memory for compact at 64 px .*--batch-size"),
        out_of_memory(recipe, tmp_path),
    ):
        raise error


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory(Recipe(), tmp_path):
        raise RuntimeError("shapes do not fit")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is kept by Linux alone")
def test_a_process_without_memory_ends_with_a_sentence_and_keeps_its_checkpoint(tmp_path):
    """A child that limits its own address space once it has trained a little."""
    child = """
import resource, sys
from lossarium.cli import main
from lossarium.training import loop

right = loop.parts_of_step
def scarce(batches, step, accumulation):
    if step == 4:
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 1_000_000, resource.RLIM_INFINITY))
        # More than the 1 MB that is left, as a larger batch would.
        import torch
        torch.empty(500_000_000)
    return right(batches, step, accumulation)
loop.parts_of_step = scarce
sys.exit(main.main(sys.argv[1:]))
"""
    out = tmp_path / "out"
    command = ["train", *map(str, pair(tmp_path)), "--size", "64", "--steps", "6", "--batch-size", "16"]
    command += ["--judge-every", "3", "--out", str(out), "--preview-every", "0", "--loss", "mse"]
    ended = subprocess.run(
        [sys.executable, "-c", child, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "there is not enough memory for compact at 64 px with a batch of 16" in ended.stderr
    assert "--batch-size 8 --accumulation 2" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (out / "checkpoints" / "step_00000003.safetensors").exists()
