"""Users' own judges: the contract, and one sentence for each violation."""

import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.judging import own_judges as registering
from lossarium.judging.held_out import directions, score
from lossarium.judging.judges import DEFAULT_JUDGES, JUDGES, chosen, judge, judges_of, names, register
from lossarium.judging.try_judges import try_judges, try_judges_on_noise
from lossarium.text import listed_names as listed
from lossarium.training.configuration import Recipe
from tests.facesets.examples import blobs
from tests.judging import own_judges
from tests.judging.test_held_out import Perfect

OWN = own_judges.__name__
PAIR = directions(blobs("ada", states=True), blobs("ben", seed=5, states=True))
TRUTH = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PREDICTION = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LEFT_HALF = torch.zeros(3, 1, 32, 32)
LEFT_HALF[..., :16] = 1


def own(name):
    return judge(f"{OWN}:{name}")


def test_a_plain_function_is_a_judge():
    one = own("largest_error")
    assert (one.name, one.title, one.unit) == (f"{OWN}:largest_error", "largest_error", "")
    assert (one.higher_is_better, one.digits, one.home_of) == (False, 3, frozenset())
    assert one.description == "The largest error of any pixel."
    expected = (PREDICTION - TRUTH).abs().amax((1, 2, 3))
    assert torch.equal(one.measure(PREDICTION, TRUTH, None), expected)


def test_without_a_weight_argument_pixels_that_do_not_count_are_equal():
    expected = (PREDICTION - TRUTH)[..., :16].abs().amax((1, 2, 3))
    assert torch.equal(own("largest_error").measure(PREDICTION, TRUTH, LEFT_HALF), expected)


def test_attributes_set_the_rest_of_the_declaration():
    one = own("likeness")
    assert (one.title, one.unit, one.digits, one.higher_is_better) == ("Likeness", "%", 1, True)
    assert one.is_home_of("ssim + 0.5*mae")
    assert not one.is_home_of("mse")
    # To the last bit what the function gives, which is called with the weight.
    expected = own_judges.likeness(PREDICTION, TRUTH, LEFT_HALF)
    assert torch.equal(one.measure(PREDICTION, TRUTH, LEFT_HALF), expected)
    assert not torch.equal(expected, own_judges.likeness(PREDICTION, TRUTH))


def test_a_class_is_built_once_and_evaluates():
    one = own("Network")
    assert torch.equal(one.measure(PREDICTION, TRUTH, None), one.measure(PREDICTION, TRUTH, None))
    assert own("Network") is one
    assert own_judges.Network.built == 1


def test_values_may_be_a_list_of_numbers():
    values = own("of_numpy").measure(PREDICTION, TRUTH, None)
    assert isinstance(values, torch.Tensor)
    assert values.tolist() == own_judges.of_numpy(PREDICTION, TRUTH)


def test_a_judge_that_changes_its_arguments_affects_no_other_judge():
    fair = score(Perfect(), PAIR, judges_of(["mae"]))
    after = score(Perfect(), PAIR, judges_of([f"{OWN}:random_crop", "mae"]))
    assert {key: after[key] for key in fair} == fair


def test_a_judges_random_numbers_are_the_same_every_time():
    one = judges_of([f"{OWN}:random_crop"])
    torch.manual_seed(1)
    first = score(Perfect(), PAIR, one)
    torch.manual_seed(2)
    assert score(Perfect(), PAIR, one) == first


def test_only_the_named_judges_score():
    scores = score(Perfect(), PAIR, judges_of(["psnr", f"{OWN}:likeness"]))
    assert set(scores) == {
        f"{task}/{name}" for task in ("reconstruction", "swap") for name in ("psnr", f"{OWN}:likeness")
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one_number", r"gives values of shape \(\); .* one number per picture, a tensor of shape \(2,\)"),
        ("a_map", r"gives values of shape \(2, 3, 32, 32\); .*take the mean over channels and pixels"),
        ("words", r"gives a list; it has to give one number per picture"),
        ("nothing", r"gives a NoneType; it has to give one number per picture"),
        ("fails", r"failed on pictures of shape \(2, 3, 32, 32\): RuntimeError"),
        ("not_finite", "gives NaN or infinity"),
        ("similarity", "set its attribute higher_is_better to True"),
        (
            "one_argument",
            r"one_argument\(prediction\) cannot be called; it has to take \(prediction, truth\)",
        ),
        ("with_wrong_direction", "higher_is_better of the judge .* has to be True or False, not 'yes'"),
        ("with_wrong_digits", "digits of the judge .* has to be a whole number from 0 to 10, not -1"),
        ("with_unknown_home", 'home_of of the judge .*: there is no loss "maa"; did you mean'),
        ("with_home_as_text", "home_of of the judge .* has to be a list of losses"),
        ("with_two_line_title", "title of the judge .* has to be a line"),
        ("largest_eror", "has no function or class largest_eror; did you mean largest_error"),
    ],
)
def test_each_violation_of_the_contract_is_one_sentence(name, told):
    with pytest.raises(LossariumError, match=told) as caught:
        try_judges(judges_of([f"{OWN}:{name}"]), PAIR)
    assert "\n" not in str(caught.value)


def test_a_judge_that_says_which_values_are_better_may_like_noise():
    try_judges(judges_of([f"{OWN}:sharpness"]), PAIR)


def test_good_judges_pass_the_try():
    good = judges_of([*names()[:4], *(f"{OWN}:{name}" for name in ("largest_error", "likeness", "of_numpy"))])
    try_judges(good, PAIR)
    try_judges_on_noise(good)


@pytest.fixture
def no_registrations(monkeypatch):
    monkeypatch.setattr(registering, "_registered", {})


@pytest.mark.usefixtures("no_registrations")
def test_a_registered_judge_is_known_by_its_name():
    @register
    def mine(prediction, truth):
        """Mine."""
        return (prediction - truth).abs().mean((1, 2, 3))

    assert names() == (*listed.JUDGES, "mine")
    assert judge("mine").description == "Mine."
    assert mine(PREDICTION, TRUTH).shape == (3,)
    assert register(name="other", home_of=["mse"])(mine) is mine
    assert judge("other").home_of == {"mse"}


@pytest.mark.usefixtures("no_registrations")
@pytest.mark.parametrize("name", ["psnr", "two words", "a:b"])
def test_a_name_that_cannot_be_taken_is_refused(name):
    with pytest.raises(LossariumError, match=f'cannot be registered as "{name}"'):
        register(name=name)(own_judges.largest_error)
    assert names() == listed.JUDGES


def test_an_unknown_judge_is_refused_with_the_nearest():
    with pytest.raises(LossariumError, match=r'no judge "pnsr"; did you mean psnr\? \(your own is named'):
        judge("pnsr")


DEFAULTS = ("psnr", "mae", "ssim", "lpips")
MINE = f"{OWN}:likeness"


@pytest.mark.parametrize(
    ("text", "steering", "expected"),
    [
        (None, None, (DEFAULTS, "ssim")),
        (None, "lpips", (DEFAULTS, "lpips")),
        (None, MINE, ((*DEFAULTS, MINE), MINE)),
        ("psnr, ssim", None, (("psnr", "ssim"), "ssim")),
        (f"psnr, {MINE}", None, (("psnr", MINE), "psnr")),
        (MINE, MINE, ((MINE,), MINE)),
    ],
)
def test_the_judges_that_score_and_the_one_that_steers(text, steering, expected):
    assert chosen(text, steering) == expected


@pytest.mark.parametrize(
    ("text", "steering", "told"),
    [
        ("psnr, psnr", None, "names psnr twice"),
        ("psnr, sim", None, 'no judge "sim"'),
        ("", None, 'no judge ""'),
        ("psnr", "lpips", "--judge lpips has to score to steer; add it to --judges"),
        ("psnr", "lpisp", 'no judge "lpisp"'),
        (None, "lpisp", 'no judge "lpisp"'),
    ],
)
def test_a_wrong_choice_is_refused(text, steering, told):
    with pytest.raises(LossariumError, match=told):
        chosen(text, steering)


def test_the_lists_of_built_in_judges_agree():
    built_in = tuple(one.name for one in JUDGES)
    assert built_in == listed.JUDGES
    defaults = tuple(one.name for one in DEFAULT_JUDGES)
    assert defaults == listed.DEFAULT_JUDGES == Recipe().judges == DEFAULTS
