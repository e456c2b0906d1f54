"""Losses as modules."""

import copy
import doctest
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lossarium
from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses import modules, write_modules
from lossarium.losses.perceptual import lpips_weights
from lossarium.losses.write_modules import class_name
from tests.losses.pictures import random_pair

ALL = losses.names()


def module_of(name, **options):
    return getattr(losses, class_name(name))(**options)


def test_the_written_file_is_that_of_the_functions_of_today():
    """If not: python -m lossarium.losses.write_modules."""
    assert write_modules.FILE.read_text() == write_modules.text()


@pytest.mark.parametrize("name", ALL)
def test_a_module_is_its_function_with_every_option(name):
    input, target = random_pair(height=32, width=32)
    weight = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    options = losses.info(name).options
    module = module_of(name, **options, reduction="none")
    assert {option: getattr(module, option) for option in options} == options
    expected = losses.info(name).function(input, target, weight=weight, reduction="none")
    assert torch.equal(module(input, target, weight), expected)


def test_options_reach_the_function():
    input, target = random_pair(height=32, width=32)
    assert torch.equal(losses.SSIM(window=7)(input, target), losses.ssim(input, target, window=7))
    assert not torch.equal(losses.SSIM(window=7)(input, target), losses.SSIM()(input, target))
    with pytest.raises(TypeError, match="windw"):
        losses.SSIM(windw=7)


@pytest.mark.parametrize("name", ALL)
def test_modules_and_specs_are_pickled_and_copied(name):
    input, target = random_pair(height=32, width=32)
    spec = losses.Loss(losses.get("mse").spec) if not losses.info(name).objective else losses.get(f"2*{name}")
    for loss in (module_of(name), spec):
        expected = loss(input, target)
        for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
            assert repr(other) == repr(loss)
            assert torch.equal(other(input, target), expected)


@pytest.mark.parametrize("name", ALL)
def test_modules_are_exported(name):
    input, target = random_pair(height=32, width=32)
    module = module_of(name)
    exported = torch.export.export(module, (input, target))
    with losses.without_kernels():
        assert torch.equal(exported.module()(input, target), module(input, target))


def test_lpips_is_exported_before_its_weights_were_ever_read():
    lpips_weights._prepared.cache_clear()
    input, target = random_pair(height=32, width=32)
    exported = torch.export.export(losses.LPIPS(), (input, target))
    with losses.without_kernels():
        assert torch.equal(exported.module()(input, target), losses.lpips(input, target))


def test_a_module_shows_its_options():
    assert repr(losses.SSIM(window=7, reduction="sum")) == (
        "SSIM(window=7, sigma=1.5, color='rgb', reduction='sum')"
    )
    assert repr(losses.MSE()) == "MSE()"


def test_mypy_passes_a_users_file_in_strict_mode(tmp_path):
    file = Path(__file__).with_name("users_file.py")
    source = Path(lossarium.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}"]
    checked = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, env={"MYPYPATH": str(source), "PATH": ""}
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_docstrings_examples_run():
    for source in (modules, write_modules):
        tried = doctest.testmod(source, extraglobs=vars(losses))
        assert tried.failed == 0
        assert tried.attempted > 0


@pytest.mark.parametrize("name", ALL)
def test_an_option_that_is_a_word_says_which_words_it_takes(name):
    """A plain `str` would let a type checker pass a wrong word."""
    loss = losses.info(name)
    assert set(loss.words) == {option for option, default in loss.options.items() if isinstance(default, str)}
    for option, words in loss.words.items():
        assert loss.options[option] in words
        with pytest.raises(LossariumError, match=r"wrong_word"):
            loss.function(*random_pair(height=32, width=32), **{option: "wrong_word"})
