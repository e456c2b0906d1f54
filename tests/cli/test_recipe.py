"""The options of a recipe come from its fields, and so do their defaults."""

import argparse
from dataclasses import fields

import pytest

from lossarium.cli.recipe import add_recipe, recipe_of
from lossarium.errors import LossariumError
from lossarium.models.registry import all_options
from lossarium.training.configuration import Recipe
from lossarium.training.options import augmentations


def recipe(*given, of_whole_trial=True):
    parser = argparse.ArgumentParser()
    add_recipe(parser, of_whole_trial=of_whole_trial)
    return recipe_of(parser.parse_args(given))


@pytest.mark.parametrize("of_whole_trial", [True, False])
def test_without_options_a_recipe_is_the_default_one(of_whole_trial):
    parsed = recipe(of_whole_trial=of_whole_trial)
    assert parsed == Recipe(model_options=all_options(Recipe.model, {}))
    assert augmentations.parse("default") == Recipe().augmentation


def test_every_field_but_the_number_of_snapshots_is_an_option_that_reaches_it():
    given = {
        "steps": ("77", 77),
        "size": ("48", 48),
        "model": ("dfl_h128", "dfl_h128"),
        "model_options": ("encoder_dims=256", None),
        "batch_size": ("3", 3),
        "learning_rate": ("0.02", 0.02),
        "optimizer": ("sgd(momentum=0.5)", "sgd(momentum=0.5)"),
        "schedule": ("cosine(warmup=5)", "cosine(warmup=5)"),
        "clipping": ("norm(2)", "norm(2)"),
        "accumulation": ("2", 2),
        "mask": ("extended(blur=1.50)", "extended(blur=1.5)"),
        "mask_loss": (None, True),
        "eye_multiplier": ("3", 3.0),
        "mouth_multiplier": ("4", 4.0),
        "precision": ("bf16", "bf16"),
        "judge_every": ("9", 9),
        "judged_frames": ("90", 90),
        "judge": ("mae", "mae"),
        "judges": ("mae, psnr", ("mae", "psnr")),
        "augmentation": ("none", augmentations.parse("none")),
    }
    assert set(given) == {field.name for field in fields(Recipe)} - {"snapshots"}
    options = []
    for name, (text, _) in given.items():
        flag = f"--{name.removesuffix('s') if name == 'model_options' else name}".replace("_", "-")
        options += [flag] if text is None else [flag, text]
    parsed = recipe(*options)
    for name, (_, value) in given.items():
        if name == "model_options":
            assert parsed.model_options == all_options("dfl_h128", {"encoder_dims": 256})
        else:
            assert getattr(parsed, name) == value, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "0"], "--steps must be from 1 to 100,000,000, not 0"),
        (["--size", "40"], "--size must be a multiple of 16 from 32 to 512, not 40"),
        (["--size", "528"], "--size must be a multiple of 16 from 32 to 512, not 528"),
        (["--batch-size", "1025"], "--batch-size must be from 1 to 1,024, not 1025"),
        (["--judge-every", "-1"], "--judge-every must be from 0 to 100,000,000, not -1"),
        (["--judged-frames", "1"], "--judged-frames must be from 2 to 100,000,000, not 1"),
        (["--learning-rate", "inf"], "--learning-rate must be positive, not inf"),
        (["--learning-rate", "nan"], "--learning-rate must be positive, not nan"),
        (["--eye-multiplier", "0"], "--eye-multiplier must be positive, not 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, said):
    with pytest.raises(LossariumError, match=said):
        recipe(*options)


def test_options_of_whole_trials_are_left_out_of_other_commands():
    parser = argparse.ArgumentParser()
    add_recipe(parser, of_whole_trial=False)
    names = {action.dest for action in parser._actions}
    assert not names & {"steps", "learning_rate", "schedule", "judge", "judges", "judge_every"}
    assert {"size", "optimizer", "precision"} <= names
