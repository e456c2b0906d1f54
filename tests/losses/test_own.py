"""Users' own losses."""

import copy
import importlib
import pickle
import random
import subprocess
import sys
from functools import partial

import pytest
import torch

from lossarium import losses
from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.losses import own, own_objects, spec
from tests.bounds import apart
from tests.losses import own_losses
from tests.losses.pictures import random_pair

HERE = "tests.losses.own_losses"
near = partial(torch.allclose, rtol=apart(torch.float32), atol=0)


def weight_of_a_half():
    weight = torch.ones(2, 1, 24, 20)
    weight[:, :, :12] = 0
    return weight


def test_a_loss_with_options_is_a_term_like_any_other():
    input, target = random_pair()
    loss = losses.get(f"0.5*{HERE}:power(k=3) + mae")
    assert repr(loss) == f"Loss(0.5*{HERE}:power(k=3) + mae)"
    expected = 0.5 * (input - target).abs().pow(3).mean() + losses.mae(input, target)
    assert near(loss(input, target), expected)
    assert [report.term for report in loss.report(input, target)] == [f"0.5*{HERE}:power(k=3)", "mae"]


def test_a_map_gets_weights_and_reductions_as_mse_does():
    input, target = random_pair()
    function, weight = losses.info(f"{HERE}:power").function, weight_of_a_half()
    for reduction in ("mean", "sum", "none"):
        for given in (None, weight):
            expected = losses.mse(input, target, weight=given, reduction=reduction)
            measured = function(input, target, k=2.0, weight=given, reduction=reduction)
            assert near(measured, expected)
    assert near(losses.map(f"{HERE}:power", input, target), losses.map("mse", input, target))
    assert function(input[0], target[0]).shape == ()


@pytest.mark.parametrize(("name", "like"), [("root_by_picture", "rmse"), ("scalar", "mse")])
def test_values_of_pictures_get_weights_by_blending_and_reductions(name, like):
    input, target = random_pair()
    function = losses.info(f"{HERE}:{name}").function
    built_in = getattr(losses, like)
    for reduction in ("mean", "sum", "none"):
        expected = built_in(input, target, reduction=reduction)
        assert near(function(input, target, reduction=reduction), expected)
    leaf = input.clone().requires_grad_()
    function(leaf, target, weight=weight_of_a_half()).backward()
    assert leaf.grad[:, :, :12].abs().max() == 0
    assert leaf.grad[:, :, 12:].abs().min() > 0


def test_a_function_that_takes_weights_itself_gets_them():
    input, target = random_pair()
    weight = weight_of_a_half()
    measured = losses.info(f"{HERE}:of_its_own").function(input, target, weight=weight)
    assert torch.equal(measured, losses.mse(input, target, weight=weight))


@pytest.fixture
def registered(monkeypatch):
    """Losses that are registered for one test: all losses would be other ones for the tests after it."""
    for kept in ("_FULL", "_SHORT"):
        monkeypatch.setattr(own, kept, dict(getattr(own, kept)))
    name = "tests.losses.registered_losses"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    del sys.modules[name]


def test_a_registered_loss_has_a_short_name_and_its_full_one_in_files(registered):
    assert str(spec.parse("pinned")) == f"{registered.__name__}:difference"
    assert f"{registered.__name__}:difference" in losses.names()
    assert losses.info("pinned").good_at == "telling apart"


def test_no_loss_stays_registered_after_a_test():
    assert not [name for name in losses.names() if name.startswith("tests.")]


def test_registering_gives_the_function_back_and_knows_no_other_process(monkeypatch):
    for kept in ("_FULL", "_SHORT"):
        monkeypatch.setattr(own, kept, dict(getattr(own, kept)))

    @losses.register
    def of_a_script(input, target):
        return (input - target).abs()

    picture = torch.zeros(1, 3, 4, 4)
    assert of_a_script(picture + 1, picture).shape == (1, 3, 4, 4)
    assert str(losses.get("2*of_a_script").spec) == "2*of_a_script"
    monkeypatch.setattr(own, "_SHORT", {})
    monkeypatch.setattr(own, "_FULL", {})
    with pytest.raises(
        LossariumError, match=r'no loss "of_a_script".*your own is named package.module:function'
    ):
        losses.get("of_a_script")


def test_names_of_built_in_losses_are_taken():
    for name in ("mse", "l1"):
        with pytest.raises(LossariumError, match="give yours another"):
            losses.register(name=name)(lambda input, target: input - target)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("number", "returned float"),
        ("narrower", r"returned a tensor of shape \(2, 3, 64, 63\)"),
        ("nan", "gives NaN or infinity"),
        ("raises", r"failed on pictures of shape \(2, 3, 64, 64\): ValueError: not today;"),
        ("without_default", 'the option "k" of .* has no default'),
        ("alone", "does not take input and target"),
        ("Uncallable", "the objects of the class .*Uncallable cannot be called; give it a method __call__"),
        ("NotBuilt", r"cannot be built as NotBuilt\(k=2.0\): ValueError: k has to be odd"),
        ("WithoutDefault", 'the option "k" of .*WithoutDefault has no default'),
        ("of_one_picture", "does not take input and target"),
    ],
)
def test_each_violation_of_the_contract_is_one_sentence_with_the_contract(name, reason):
    with pytest.raises(LossariumError, match=reason) as caught:
        losses.info(f"{HERE}:{name}")
    told = str(caught.value)
    assert own_objects.CONTRACT in told or "cannot be called" in told or "cannot be built" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("changes_target", "changes the target that it is given.*compute on a copy"),
        ("similarity", "greater for equal pictures than for different ones.*return 1 minus a similarity"),
        ("counts_calls", "gives another value when it is called again.*keep nothing from call to call"),
        ("MovingAverage", "gives another value when it is called again.*a resumed trial would not repeat"),
        ("of_pythons_random_numbers", "the same random seed.*draw random numbers from torch alone"),
    ],
)
def test_similarities_and_changed_targets_are_refused_with_the_remedy(name, reason):
    with pytest.raises(LossariumError, match=reason):
        losses.get(f"mse + 0.5*{HERE}:{name}")


def test_a_term_that_looks_at_the_input_alone_is_a_loss():
    input, target = random_pair()
    measured = losses.get(f"mse + 0.5*{HERE}:total_variation")(input, target)
    variation = (input[..., 1:] - input[..., :-1]).abs().mean()
    assert near(measured, losses.mse(input, target) + 0.5 * variation)


def test_a_class_is_built_with_the_options_of_the_spec():
    input, target = random_pair()
    assert torch.equal(
        losses.get(f"{HERE}:Power(k=3)")(input, target), losses.get(f"{HERE}:power(k=3)")(input, target)
    )
    declared = losses.info(f"{HERE}:Power")
    assert (declared.options, declared.pixel_map) == ({"k": 2.0, "how": "all"}, True)
    assert (declared.name, declared.good_at) == (f"{HERE}:Power", "Errors to a power, as a class.")
    assert near(losses.map(f"{HERE}:Power", input, target), losses.map("mse", input, target))
    weight = weight_of_a_half()
    for reduction in ("mean", "sum", "none"):
        measured = declared.function(input, target, weight=weight, reduction=reduction)
        assert near(measured, losses.mse(input, target, weight=weight, reduction=reduction))
    with pytest.raises(LossariumError, match="how is one of all, none, not some"):
        losses.get(f"{HERE}:Power(how=some)")


def test_a_registered_class_has_a_short_name_and_stays_a_class(registered):
    assert str(spec.parse("0.5*pinned_class(k=3)")) == f"0.5*{registered.__name__}:Registered(k=3)"
    assert losses.info("pinned_class").good_at == "being a class"
    assert isinstance(registered.Registered(k=3), own_losses.Power)


def test_objects_that_can_be_called_are_losses():
    input, target = random_pair()
    weight = weight_of_a_half()
    expected = losses.mse(input, target, weight=weight)
    for name, factor in (("scaled", 5), ("Scaled(factor=2)", 2), ("Scaled", 3)):
        assert near(losses.get(f"{HERE}:{name}")(input, target, weight), factor * expected)


def test_torchs_own_classes_get_weights_and_maps():
    """They are built with reduction="none"; their objects, built with the mean, give one value."""
    input, target = random_pair()
    weight = weight_of_a_half()
    measured = losses.get("torch.nn:HuberLoss(delta=0.1)")(input, target, weight)
    assert near(measured, losses.huber(input, target, delta=0.1, weight=weight))
    assert losses.info("torch.nn:L1Loss").pixel_map
    assert not losses.info(f"{HERE}:module").pixel_map
    assert near(losses.get(f"{HERE}:module")(input, target), losses.mae(input, target))


def test_weights_of_a_module_are_the_same_in_every_process_and_are_not_trained():
    input, target = random_pair()
    name = f"{HERE}:Features(width=5)"
    torch.manual_seed(1)
    before = torch.get_rng_state()
    leaf = input.clone().requires_grad_()
    value = losses.get(name)(leaf, target)
    value.backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert leaf.grad.abs().max() > 0
    command = (
        "import torch; from lossarium import losses; from tests.losses.pictures import random_pair;"
        f"torch.manual_seed(7); print(losses.get('{name}')(*random_pair()).item())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=120
    )
    # Dropout is off: evaluation mode.
    assert float(elsewhere.stdout) == pytest.approx(value.item(), rel=apart(torch.float32))
    assert list(losses.get(name).parameters()) == []


def test_a_users_module_is_left_as_it_is_and_follows_the_pictures():
    input, target = random_pair()
    module = own_losses.features
    loss = losses.get(f"{HERE}:features")
    single, double = loss(input, target), loss(input.double(), target.double())
    assert double.dtype is torch.float64
    assert double.item() == pytest.approx(single.item(), rel=apart(torch.float32))
    assert module.training
    assert all(weight.requires_grad and weight.dtype is torch.float32 for weight in module.parameters())
    # The one other device that every machine has; no value can be computed there.
    function = own_objects.own_function(f"{HERE}:features", module)
    elsewhere = function.call(input.to("meta"), target.to("meta"))
    assert (elsewhere.device.type, elsewhere.shape) == ("meta", (2, 1, 24, 20))


def test_a_loss_first_used_in_inference_mode_trains_later():
    input, target = random_pair()
    with torch.inference_mode():
        losses.get(f"{HERE}:Features(width=6)")(input, target)
    leaf = input.clone().requires_grad_()
    losses.get(f"{HERE}:Features(width=6)")(leaf, target).backward()
    assert leaf.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["power(k=3)", "Power(k=3)", "Features(width=7)", "scaled", "module"])
def test_own_losses_are_pickled_copied_and_exported(name):
    input, target = random_pair()
    loss = losses.get(f"{HERE}:{name}")
    exported = torch.export.export(loss, (input, target)).module()
    expected = loss(input, target)
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), exported):
        assert torch.equal(other(input, target), expected)


def test_random_numbers_of_torch_are_those_of_the_seed():
    input, target = random_pair()
    loss = losses.get(f"{HERE}:of_torchs_random_numbers")
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(loss(input, target).item())
    assert values[0] == values[1] != values[2]


def test_a_loss_without_gradient_can_measure_and_not_train():
    with pytest.raises(LossariumError, match="cannot be minimised, since its result has no gradient"):
        losses.get(f"{HERE}:detached")
    assert str(spec.parse(f"{HERE}:detached", measures=True)) == f"{HERE}:detached"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere:loss", "no module nowhere"),
        (f"{HERE}:powr", "did you mean power"),
        ("builtins:len", "does not take"),
    ],
)
def test_missing_modules_and_functions_are_named(name, reason):
    with pytest.raises(LossariumError, match=reason):
        losses.get(name)


def test_a_shared_name_and_a_file_in_the_current_folder_are_found_on_the_command_line(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "mine_of_this_test.py").write_text(
        "def loss(input, target, *, k: int = 2):\n    '''Even powers.'''\n    return (input - target) ** k\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "mine_of_this_test:loss(k=4)"]) == 0
    card = capsys.readouterr().out
    assert "Even powers" in card
    assert "k=4" in card
    assert main(["losses", "--no-cost", "--csv", "mine_of_this_test:loss"]) == 0
    assert "mine_of_this_test:loss,own,True,Even powers." in capsys.readouterr().out


@pytest.mark.parametrize(("alias", "name"), [("l1", "mae"), ("l2", "mse")])
def test_l1_and_l2_are_understood_and_written_as_what_they_are(alias, name):
    assert str(spec.parse(f"0.5*{alias}")) == f"0.5*{name}"


@pytest.mark.parametrize("wrong", [None, 3, ["mse"], b"mse"])
def test_anything_but_a_spec_is_refused_at_once(wrong):
    with pytest.raises(LossariumError, match="a loss is a spec"):
        losses.get(wrong)


def test_no_text_crashes_the_reader():
    source = random.Random(0)
    pieces = [
        "mse",
        "ssim",
        "(",
        ")",
        "=",
        ",",
        "+",
        "-",
        "*",
        ":",
        ".",
        "0.5",
        "1e",
        "k",
        "inf",
        " ",
        "\n",
        "é",
        "\0",
    ]
    pieces += [
        "window",
        "7",
        "mine:",
        "tests.losses",
        ":power",
        HERE,
        "l1",
        "\u0661",
        "²",
        "true",
        "--",
        "\U0001f600",
    ]
    for _ in range(3000):
        text = "".join(source.choices(pieces, k=source.randint(0, 9)))
        for piece in spec.split(text):
            try:
                read = spec.parse(piece, measures=True)
            except LossariumError:
                continue
            assert spec.parse(str(read), measures=True) == read
