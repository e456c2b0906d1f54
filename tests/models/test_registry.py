"""Models by name, with options, and users' own models."""

import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.models import own_models as registering
from lossarium.models.prediction import Prediction, predict, stacked
from lossarium.models.registry import (
    all_options,
    info,
    initial_model,
    names,
    parameter_count,
    register,
    weights_digest,
)
from tests.models import own_models

OWN = own_models.__name__


def _own(factory, seed=0, **options):
    return initial_model(f"{OWN}:{factory}", size=16, identities=2, seed=seed, options=options)


def test_names_the_models():
    assert names() == ("compact", "lightweight", "original", "dfl_h128", "dfl_sae")
    assert [info(name).size for name in names()] == [64, 64, 64, 128, 128]
    assert all(info(name).summary for name in names())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dfl_see", r"did you mean dfl_sae\b"),
        ("xyz", "choose from compact, lightweight"),
        ("", "choose from compact"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest(name, told):
    with pytest.raises(LossariumError, match=told):
        initial_model(name, size=64, identities=2, seed=0)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("dfl_sae", {"ae_dim": 256}, r'dfl_sae has no option "ae_dim"; did you mean ae_dims'),
        ("compact", {"channels": 3}, r'compact has no option "channels"; choose from icnr'),
        ("dfl_sae", {"ae_dims": True}, "ae_dims of the model dfl_sae is a whole number, not True"),
        ("dfl_sae", {"ae_dims": 256.0}, r"ae_dims of the model dfl_sae is a whole number, not 256\.0"),
        ("dfl_sae", {"learn_mask": 1}, "learn_mask of the model dfl_sae is true or false, not 1"),
        ("dfl_sae", {"architecture": 1}, "architecture of the model dfl_sae is a word, not 1"),
        ("dfl_sae", {"ae_dims": -1}, "ae_dims of the model dfl_sae is at least 0, not -1"),
        ("dfl_sae", {"encoder_dims": 0}, "encoder_dims of the model dfl_sae is at least 1, not 0"),
        ("dfl_sae", {"decoder_dims": 0}, "decoder_dims of the model dfl_sae is at least 1, not 0"),
        ("original", {"channels": 1}, "channels of the model original is at least 2, not 1"),
        ("lightweight", {"encoder_dims": 0}, "encoder_dims of the model lightweight is at least 1, not 0"),
        ("dfl_h128", {"encoder_dims": 3}, "encoder_dims of the model dfl_h128 is at least 4, not 3"),
    ],
)
def test_a_wrong_option_is_refused(name, options, told):
    for use in (initial_model, parameter_count):
        seed = {"seed": 0} if use is initial_model else {}
        with pytest.raises(LossariumError, match=told):
            use(name, size=64, identities=2, options=options, **seed)
    with pytest.raises(LossariumError, match=told):
        all_options(name, options)


def test_all_options_are_those_given_and_the_defaults_of_the_others():
    assert all_options("dfl_sae", {"ae_dims": 64}) == {
        "architecture": "df",
        "ae_dims": 64,
        "encoder_dims": 42,
        "decoder_dims": 21,
        "multiscale_decoder": False,
        "learn_mask": False,
        "icnr": True,
    }
    assert all_options(f"{OWN}:Blur") == {"kernel": 3}
    assert all_options(f"{OWN}:takes_anything", {"depth": 3}) == {"width": 8, "depth": 3}


def test_a_model_too_large_for_the_machine_is_refused_with_its_size():
    with pytest.raises(LossariumError, match=r"the weights of lightweight take \d{7,}\.\d GB"):
        initial_model("lightweight", size=64, identities=2, seed=0, options={"encoder_dims": 10**11})


def test_an_own_model_is_built_with_its_options_and_seeded():
    model = _own("Blur", kernel=5)
    assert isinstance(model, own_models.Blur)
    assert model.size == 16
    assert model.convolutions[0].weight.shape == (3, 3, 5, 5)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    again = _own("Blur", kernel=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_digest(again) == weights_digest(model)
    assert weights_digest(_own("Blur", seed=1, kernel=5)) != weights_digest(model)
    assert parameter_count(f"{OWN}:Blur", size=16, identities=3) == 3 * 84


def test_an_own_model_may_predict_masks_and_coarser_pictures():
    prediction = predict(_own("WithMasks"), torch.rand(2, 4, 3, 16, 16), (1, 0))
    assert prediction.masks.shape == (2, 4, 1, 16, 16)
    assert prediction.coarser[0].shape == (2, 4, 3, 8, 8)


def test_trying_an_own_model_leaves_it_unchanged():
    model = _own("WithNorm")
    assert model.training
    assert model.norm.training
    assert not model.frozen.training
    assert model.norm.num_batches_tracked == 0
    assert torch.equal(model.norm.running_mean, torch.zeros(3))
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("blur", "has no function or class blur; did you mean Blur"),
        ("NOT_CALLABLE", "has no function or class NOT_CALLABLE"),
        ("gives_a_list", r"gave a list; it has to give a torch\.nn\.Module"),
        ("fails", r"fails\(size=16, identities=2\) failed: RuntimeError: no weights for 2 at 16$"),
        ("Cropped", r"pictures of shape \(2, 1, 3, 15, 16\) .* have to be \(2, 1, 3, 16, 16\)"),
        ("ForgetsTheSlices", r"pictures of shape \(1, 3, 16, 16\)"),
        ("Oblong", r"coarser pictures of shape \(2, 1, 3, 4, 8\)"),
        ("GivesIntegers", r"type torch\.int32; they have to be .* floating-point"),
        ("GivesATuple", "GivesATuple gives back a tuple; its forward has to return"),
        ("Stumbles", r"failed on pictures of shape \(2, 1, 3, 16, 16\): RuntimeError"),
        ("Frozen", "has no weights to train"),
        (
            "takes_no_identities",
            r"takes_no_identities\(size\) cannot be called as .*size and identities",
        ),
        (
            "wants_more",
            r"wants_more\(size, identities, depth\) cannot be called as .* have defaults",
        ),
        ("a b", "is named package.module:name"),
        ("", "is named package.module:name"),
        ("a:b", "is named package.module:name"),
    ],
)
def test_each_mistake_of_an_own_model_is_one_sentence(factory, told):
    with pytest.raises(LossariumError, match=told) as caught:
        _own(factory)
    assert "\n" not in str(caught.value)


def test_a_wrong_option_of_an_own_model_is_named():
    with pytest.raises(LossariumError, match=r'Blur has no option "depht"; choose from kernel'):
        _own("Blur", depht=3)
    with pytest.raises(LossariumError, match=r"kernel of the model .*:Blur is a whole number, not 'wide'"):
        _own("Blur", kernel="wide")
    with pytest.raises(LossariumError, match=r'Blur has no option "size"'):
        all_options(f"{OWN}:Blur", {"size": 32})
    with pytest.raises(LossariumError, match=r"Blur\(size=16, identities=2, kernel=-3\) failed: \w+Error"):
        _own("Blur", kernel=-3)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "no_such_package:factory",
            "there is no module no_such_package; install it, start lossarium in the folder",
        ),
        ("no_such_package.deep:factory", "there is no module no_such_package"),
        (":factory", "is named package.module:name"),
        (".relative:factory", "is named package.module:name"),
        ("../models:factory", "is named package.module:name"),
    ],
)
def test_a_missing_module_is_named(name, told):
    with pytest.raises(LossariumError, match=told):
        initial_model(name, size=16, identities=2, seed=0)


def test_a_module_that_cannot_be_imported_is_named_with_its_error(tmp_path, monkeypatch):
    (tmp_path / "broken_own_model.py").write_text("def factory(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LossariumError, match=r'"broken_own_model:factory": SyntaxError'):
        initial_model("broken_own_model:factory", size=16, identities=2, seed=0)


def test_predictions_of_slices_are_stacked_with_all_that_they_have():
    parts = [
        Prediction(
            torch.full((2, 3, 8, 8), value), (torch.full((2, 3, 4, 4), value),), torch.ones(2, 1, 8, 8)
        )
        for value in (0.25, 0.75)
    ]
    whole = stacked(parts)
    assert whole.pictures[:, 0, 0, 0, 0].tolist() == [0.25, 0.75]
    assert whole.coarser[0].shape == (2, 2, 3, 4, 4)
    assert whole.masks.shape == (2, 2, 1, 8, 8)
    assert whole.simplest() is whole
    plain = stacked([Prediction(part.pictures) for part in parts])
    assert torch.equal(plain.simplest(), whole.pictures)


def test_predict_wraps_pictures_and_passes_predictions_on():
    pictures = torch.rand(2, 1, 3, 16, 16)
    assert predict(_own("Blur"), pictures, (0, 1)).coarser == ()
    assert isinstance(predict(_own("WithMasks"), pictures, (0, 1)), Prediction)
    with pytest.raises(LossariumError, match="gives back a tuple"):
        predict(own_models.GivesATuple(16, 2), pictures, (0, 1))


@pytest.fixture
def no_registrations(monkeypatch):
    monkeypatch.setattr(registering, "_registered", {})


@pytest.mark.usefixtures("no_registrations")
def test_a_registered_model_is_known_by_its_name():
    @register(size=32)
    class Mine(own_models.Blur):
        """Blurs."""

    assert names()[-1] == "Mine"
    assert registering.registered()[0].summary == "Blurs."
    assert registering.registered()[0].size == 32
    model = initial_model("Mine", size=16, identities=3, seed=0, options={"kernel": 5})
    assert isinstance(model, Mine)
    assert all_options("Mine") == {"kernel": 3}
    assert parameter_count("Mine", size=16, identities=1) == 84
    assert register(own_models.Blur) is own_models.Blur
    assert names()[-1] == "Blur"


@pytest.mark.usefixtures("no_registrations")
@pytest.mark.parametrize(
    ("name", "why"), [("dfl_sae", "a built-in model has that name"), ("a b", "that is not a Python name")]
)
def test_a_name_that_cannot_be_taken_is_refused(name, why):
    with pytest.raises(LossariumError, match=why):
        register(name=name)(own_models.Blur)
    assert registering.registered() == ()
