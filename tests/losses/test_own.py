"""Users' own losses."""

import random

import pytest
import torch

from lossarium import losses
from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.losses import own, spec
from tests.losses.pictures import random_pair

HERE = "tests.losses.own_losses"


def weight_of_a_half():
    weight = torch.ones(2, 1, 24, 20)
    weight[:, :, :12] = 0
    return weight


def test_a_loss_with_options_is_a_term_like_any_other():
    input, target = random_pair()
    loss = losses.get(f"0.5*{HERE}:power(k=3) + mae")
    assert repr(loss) == f"Loss(0.5*{HERE}:power(k=3) + mae)"
    expected = 0.5 * (input - target).abs().pow(3).mean() + losses.mae(input, target)
    assert torch.allclose(loss(input, target), expected)
    assert [report.term for report in loss.report(input, target)] == [f"0.5*{HERE}:power(k=3)", "mae"]


def test_a_map_gets_weights_and_reductions_as_mse_does():
    input, target = random_pair()
    function, weight = losses.info(f"{HERE}:power").function, weight_of_a_half()
    for reduction in ("mean", "sum", "none"):
        for given in (None, weight):
            expected = losses.mse(input, target, weight=given, reduction=reduction)
            measured = function(input, target, k=2.0, weight=given, reduction=reduction)
            assert torch.allclose(measured, expected)
    assert torch.allclose(losses.map(f"{HERE}:power", input, target), losses.map("mse", input, target))
    assert function(input[0], target[0]).shape == ()


@pytest.mark.parametrize(("name", "like"), [("root_by_picture", "rmse"), ("scalar", "mse")])
def test_values_of_pictures_get_weights_by_blending_and_reductions(name, like):
    input, target = random_pair()
    function = losses.info(f"{HERE}:{name}").function
    built_in = getattr(losses, like)
    for reduction in ("mean", "sum", "none"):
        expected = built_in(input, target, reduction=reduction)
        assert torch.allclose(function(input, target, reduction=reduction), expected)
    leaf = input.clone().requires_grad_()
    function(leaf, target, weight=weight_of_a_half()).backward()
    assert leaf.grad[:, :, :12].abs().max() == 0
    assert leaf.grad[:, :, 12:].abs().min() > 0


def test_a_function_that_takes_weights_itself_gets_them():
    input, target = random_pair()
    weight = weight_of_a_half()
    measured = losses.info(f"{HERE}:of_its_own").function(input, target, weight=weight)
    assert torch.equal(measured, losses.mse(input, target, weight=weight))


def test_a_registered_loss_has_a_short_name_and_its_full_one_in_files():
    losses.info(f"{HERE}:power")
    assert str(spec.parse("pinned")) == f"{HERE}:root_by_picture"
    assert f"{HERE}:root_by_picture" in losses.names()
    assert losses.info("pinned").good_at == "telling apart"


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
    ],
)
def test_each_violation_of_the_contract_is_one_sentence_with_the_contract(name, reason):
    with pytest.raises(LossariumError, match=reason) as caught:
        losses.info(f"{HERE}:{name}")
    assert own._CONTRACT in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("changes_target", "changes the target that it is given.*compute on a copy"),
        ("similarity", "greater for equal pictures than for different ones.*return 1 minus a similarity"),
        ("module", r"is a module; write a function that calls it, .*return module\(input, target\)"),
    ],
)
def test_similarities_and_changed_targets_are_refused_with_the_remedy(name, reason):
    with pytest.raises(LossariumError, match=reason):
        losses.get(f"mse + 0.5*{HERE}:{name}")


def test_a_term_that_looks_at_the_input_alone_is_a_loss():
    input, target = random_pair()
    measured = losses.get(f"mse + 0.5*{HERE}:total_variation")(input, target)
    assert measured > losses.mse(input, target)


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
