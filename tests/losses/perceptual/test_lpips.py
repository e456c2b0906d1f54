"""LPIPS with every network, against the published package, and the files of its weights."""

import json
import math
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.perceptual import lpips_weights
from lossarium.losses.perceptual.lpips import keeping_features
from lossarium.losses.perceptual.lpips_networks import network
from tests.bounds import LONGEST_CHAIN, apart, sensitivity, unit_roundoff
from tests.losses.kernel_cases import check_slope
from tests.losses.pictures import extremes, random_pair

NEAR = apart(torch.float32)
NETS = ("alex", "vgg", "squeeze")
GOLDEN = Path(__file__).parents[2] / "golden" / "lpips_nets.json"
CASES = [
    {"net": net, "spatial": spatial, "height": height, "width": width, "seed": seed, "dtype": dtype}
    for net in NETS
    for spatial in (False, True)
    for height, width, seed, dtype in ((64, 64, 0, "float32"), (35, 53, 1, "float32"), (32, 31, 2, "float64"))
]


def golden_pair(height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """A smooth picture with a stripe in a single channel, and a noisy copy of it."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 5, 4, generator=source, dtype=torch.float64)
    target = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    target[:, 1, :, width // 3] = 1
    noise = torch.randn(target.shape, generator=source, dtype=torch.float64)
    return target + torch.tensor([0.02, 0.3], dtype=torch.float64).view(2, 1, 1, 1) * noise, target


def random_weights(net: str) -> dict[str, Tensor]:
    """Weights for a network, the same on every processor, that keep its features near 1.

    `torch.randn` in float32 has other last bits with AVX2 than without; uniform numbers are exact.
    """
    source = torch.Generator().manual_seed(len(net))
    weights = {}
    for name, shape in sorted(network(net).shapes().items()):
        values = (2 * torch.rand(shape, generator=source) - 1) * math.sqrt(3)
        if name.startswith("lin."):
            weights[name] = values.abs() / 10
        elif name.endswith(".bias"):
            weights[name] = values / 20
        else:
            weights[name] = values * math.sqrt(2 / math.prod(shape[1:]))
    return weights


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for net in NETS:
        save_file(random_weights(net), folder / f"lpips_{net}.safetensors")
    return folder


@pytest.fixture
def with_random_weights(random_folder, monkeypatch):
    """Take all networks' weights from a user's folder, including the bundled AlexNet's."""
    monkeypatch.setenv("LOSSARIUM_WEIGHTS", str(random_folder))
    monkeypatch.setattr(lpips_weights, "files", lambda _: _Elsewhere(random_folder))


class _Elsewhere:
    """Stands for the package's folder, whose `weights` is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        assert name == "weights"
        return self.folder


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("golden", json.loads(GOLDEN.read_text())["values"])
def test_equals_the_published_package(golden):
    dtype = getattr(torch, golden["dtype"])
    pair = golden_pair(golden["height"], golden["width"], golden["seed"])

    def measured(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        input = input.clone().requires_grad_()
        each = losses.lpips(input, target, net=golden["net"], spatial=golden["spatial"], reduction="none")
        (gradient,) = torch.autograd.grad(each.sum(), input)
        return each.detach(), gradient.norm()

    each, norm = measured(*(picture.to(dtype) for picture in pair))
    (exact, exact_norm), (change, change_of_norm) = sensitivity(measured, *pair)
    # In float64 too the package has its mean and its deviation in float32: four roundings of two pictures.
    chain, unit = LONGEST_CHAIN if dtype == torch.float32 else 4, unit_roundoff(torch.float32)
    theirs = torch.tensor(golden["each"], dtype=torch.float64)
    assert ((each - theirs).abs() <= chain * (unit * exact + change)).all()
    if dtype == torch.float64:  # In float32 the rounding of either decides which rectifiers are open.
        assert abs(norm - golden["gradient_norm"]) <= chain * (unit * exact_norm + change_of_norm)


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("spatial", "weighted"), [(False, False), (True, True)])
def test_the_kernel_equals_the_plain_formula(net, spatial, weighted, monkeypatch):
    # One picture at a time, so that the pictures' parts are put together.
    monkeypatch.setattr(type(network(net)), "pixels_at_once", 1, raising=False)
    input, target = random_pair(height=33, width=41)
    weight = torch.rand(2, 1, 33, 41, generator=torch.Generator().manual_seed(3)) if weighted else None
    slope = torch.tensor([1.0, -3.0])

    def measured(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        x = input.clone().requires_grad_()
        each = losses.lpips(x, target, net=net, spatial=spatial, weight=weight, reduction="none")
        return each.detach(), torch.autograd.grad((each * slope).sum(), x)[0]

    value, gradient = measured(input, target, weight)
    with losses.without_kernels():
        plain, plain_gradient = measured(input, target, weight)
    # Both run the same convolutions, layer by layer: what differs is how features are compared.
    assert torch.allclose(value, plain, rtol=NEAR, atol=0)
    assert (gradient - plain_gradient).norm() < NEAR * plain_gradient.norm()
    alone = losses.lpips(input, target, net=net, spatial=spatial, weight=weight, reduction="none")
    assert torch.allclose(alone, value, rtol=NEAR, atol=0)


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
def test_the_map_is_what_spatial_averages_and_counts_pixels_exactly(net):
    input, target = random_pair(height=35, width=44)
    map = losses.map("lpips", input, target, net=net)
    assert map.shape == (2, 1, 35, 44)
    assert torch.allclose(
        map.mean(dim=(1, 2, 3)),
        losses.lpips(input, target, net=net, spatial=True, reduction="none"),
        rtol=NEAR,
        atol=0,
    )
    weight = torch.zeros(2, 1, 35, 44)
    weight[0, 0, 20, 7] = 5
    weight[0, 0, 3, 40] = 15
    each = losses.lpips(input, target, net=net, spatial=True, weight=weight, reduction="none")
    assert each[0].item() == pytest.approx((map[0, 0, 20, 7] + 3 * map[0, 0, 3, 40]).item() / 4, rel=NEAR)
    assert each[1] == 0


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
def test_bfloat16_convolutions_are_close(net, monkeypatch):
    pictures = random_pair(height=48, width=40)

    def measured(input: Tensor, target: Tensor, precision: str = "float32") -> tuple[Tensor, Tensor]:
        input = input.clone().requires_grad_()
        value = losses.lpips(input, target, net=net, precision=precision)
        (gradient,) = torch.autograd.grad(value, input)
        assert value.dtype == gradient.dtype == torch.float32
        return value.detach(), gradient

    (value, gradient), (rounded, turned) = measured(*pictures), measured(*pictures, "bfloat16")
    # The most that the documentation promises, one rounding: those of thousands of features average out.
    unit = unit_roundoff(torch.bfloat16)
    assert rounded.item() == pytest.approx(value.item(), rel=unit)
    # bfloat16 rounds weights, features and what is passed back, each evenly by up to a unit roundoff, u:
    # three errors of the deviation u / sqrt(3), together that of one change by u, up or down. What such
    # changes of weights and pictures do to the gradient in float32 is measured. Half as much again is
    # allowed, since which rectifiers open or close is chance.
    spread = []
    for seed in range(4):
        source = torch.Generator().manual_seed(seed)
        changed = partial(changed_by, unit, source)
        weights = {name: changed(tensor) for name, tensor in random_weights(net).items()}
        monkeypatch.setattr(lpips_weights, "_weights", lambda *_, weights=weights: weights)
        monkeypatch.setenv(lpips_weights.FOLDER_VARIABLE, f"another place in the cache of weights, {seed}")
        spread.append((measured(*map(changed, pictures))[1] - gradient).norm())
    assert 0 < (turned - gradient).norm() < 1.5 * torch.stack(spread).mean()


def changed_by(share: float, source: torch.Generator, tensor: Tensor) -> Tensor:
    return tensor * (1 + share * (2 * torch.randint(0, 2, tensor.shape, generator=source) - 1))


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("case", extremes())
def test_first_and_second_derivatives_are_finite_on_extremes(net, case):
    input, target = extremes(32)[case]
    input = input.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses.lpips(input, target, net=net), input, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), input)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(second).all()


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize(("net", "spatial"), [("alex", False), ("squeeze", True), ("vgg", False)])
def test_gradient_equals_a_finite_difference(net, spatial):
    input, target = random_pair(height=31, width=33, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(input.shape, dtype=torch.float64, generator=generator)
    weight = torch.rand(2, 1, 31, 33, dtype=torch.float64, generator=generator)

    def value(x: Tensor) -> Tensor:
        return losses.lpips(x, target, net=net, spatial=spatial, weight=weight)

    check_slope(value, input, direction, step=1e-7)


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
def test_equal_pictures_differ_by_exactly_nothing(net):
    input, target = random_pair(height=40, width=48)
    input = torch.stack((input[0], target[1])).requires_grad_()
    each = losses.lpips(input, target, net=net, reduction="none")
    each.sum().backward()
    assert each[0] > 0
    assert each[1] == 0
    assert input.grad[1].abs().max() == 0


def test_a_target_that_learns_gets_its_gradient():
    input, target = random_pair(height=31, width=33)
    target.requires_grad_()
    input.requires_grad_()
    value = losses.lpips(input, target)
    to_target = torch.autograd.grad(value, target)[0]
    swapped = torch.autograd.grad(losses.lpips(target, input.detach()), target)[0]
    assert (to_target - swapped).norm() <= NEAR * swapped.norm()


def test_compiles_as_one_graph():
    input, target = random_pair(height=32, width=40)
    weight = torch.rand(2, 1, 32, 40, generator=torch.Generator().manual_seed(3))
    lpips_weights._prepared.cache_clear()
    compiled = torch.compile(losses.lpips, fullgraph=True, backend="eager")
    value = compiled(input.requires_grad_(), target, spatial=True, weight=weight)
    value.backward()
    plain = input.detach().clone().requires_grad_()
    with losses.without_kernels():
        expected = losses.lpips(plain, target, spatial=True, weight=weight)
    expected.backward()
    assert torch.equal(value, expected)
    assert torch.equal(input.grad, plain.grad)


@pytest.mark.parametrize("kernels", [True, False])
def test_autocast_around_it_changes_nothing(kernels):
    input, target = random_pair(height=32, width=40)
    expected, expected_map = losses.lpips(input, target), losses.map("lpips", input, target)
    with losses.without_kernels():
        expected_plain = losses.lpips(input, target)
    with torch.autocast("cpu", torch.bfloat16):
        if kernels:
            assert torch.equal(losses.lpips(input, target), expected)
        else:
            with losses.without_kernels():
                assert torch.equal(losses.lpips(input, target), expected_plain)
        assert torch.equal(losses.map("lpips", input, target), expected_map)


def test_refuses_unknown_words():
    picture = torch.zeros(1, 3, 32, 32)
    with pytest.raises(LossariumError, match="alex, vgg, squeeze, not 'resnet'"):
        losses.lpips(picture, picture, net="resnet")
    with pytest.raises(LossariumError, match="float16"):
        losses.lpips(picture, picture, precision="float16")


@pytest.mark.usefixtures("with_random_weights")
@pytest.mark.parametrize("net", NETS)
def test_the_smallest_pictures_fit_and_smaller_ones_are_refused(net):
    side = network(net).smallest_side
    input, target = random_pair(height=side, width=side + 1)
    assert losses.lpips(input, target, net=net) > 0
    with pytest.raises(LossariumError, match=f"at least {side}"):
        losses.lpips(input[..., 2:], target[..., 2:], net=net)


def test_missing_weights_are_reported_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setenv("LOSSARIUM_WEIGHTS", str(tmp_path))
    picture = torch.zeros(1, 3, 32, 32)
    with pytest.raises(LossariumError, match=r"LOSSARIUM_WEIGHTS to a folder with lpips_vgg.safetensors"):
        losses.lpips(picture, picture, net="vgg")


def _changed(**tensors):
    return {**random_weights("squeeze"), **tensors}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04K\x01.", "cannot read"),
        (b"\xff" * 64, "cannot read"),
        (b"\0" * 10_000_000, "at most"),
        ({"lin.0.weight": torch.zeros(1)}, "has no tensor features"),
        (_changed(**{"lin.6.weight": torch.zeros(1, 511, 1, 1)}), r"lin.6.weight in .* \(1, 512, 1, 1\)"),
        (_changed(**{"lin.6.weight": torch.zeros(1, 512, 1, 1).half()}), "must be float32, not F16"),
        (_changed(**{"features.0.bias": torch.full((64,), torch.nan)}), "features.0.bias .* NaN or infinity"),
    ],
    ids=["pickle", "garbage", "large", "wrong tensors", "wrong shape", "wrong dtype", "NaN"],
)
def test_a_damaged_weights_file_is_refused(content, reason, monkeypatch, tmp_path):
    path = tmp_path / "lpips_squeeze.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)
    monkeypatch.setenv("LOSSARIUM_WEIGHTS", str(tmp_path))
    picture = torch.zeros(1, 3, 32, 32)
    with pytest.raises(LossariumError, match=reason) as caught:
        losses.lpips(picture, picture, net="squeeze")
    assert "lpips_squeeze.safetensors" in str(caught.value)


class _PackageLPIPS:
    """What the package lpips gives, without it: its names for the same tensors."""

    def __init__(self, net: str, verbose: bool) -> None:  # noqa: ARG002
        self.net = net

    def state_dict(self) -> dict[str, Tensor]:
        state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
        for name, tensor in random_weights(self.net).items():
            family, _, rest = name.partition(".")
            if family == "lin":
                layer = rest.removesuffix(".weight")
                state[f"lin{layer}.model.1.weight"] = state[f"lins.{layer}.model.1.weight"] = tensor
            else:
                state[f"net.slice1.{rest}"] = tensor
        return state


def test_saves_the_weights_of_the_package_for_others_to_read(monkeypatch, tmp_path, random_folder):
    package = type("package", (), {"LPIPS": _PackageLPIPS})
    monkeypatch.setitem(sys.modules, "lpips", package)
    path = lpips_weights.save_lpips_weights("squeeze", tmp_path / "new")
    assert [file.name for file in path.parent.iterdir()] == ["lpips_squeeze.safetensors"]
    input, target = random_pair(height=32, width=32)
    values = []
    # The last is no folder: there the weights come from the package at once.
    for folder in (path.parent, random_folder, tmp_path / "none"):
        monkeypatch.setenv("LOSSARIUM_WEIGHTS", str(folder))
        values.append(losses.lpips(input, target, net="squeeze").item())
    assert values == [values[0]] * 3


def test_the_command_reports_what_it_cannot_do(monkeypatch, capsys, tmp_path):
    assert lpips_weights._main([]) == 2
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert lpips_weights._main(["vgg", str(tmp_path)]) == 1
    assert lpips_weights._main(["resnet", str(tmp_path)]) == 1
    usage, missing, unknown = capsys.readouterr().err.splitlines()
    assert "FOLDER" in usage
    assert "lpips" in missing
    assert "alex, vgg, squeeze" in unknown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("weighted", [False, True])
def test_features_that_are_kept_for_many_inputs_change_no_bit(weighted):
    _, target = random_pair(height=48, width=40)
    inputs = [random_pair(height=48, width=40, seed=seed)[0] for seed in (1, 2)]
    weight = torch.rand(2, 1, 48, 40) if weighted else None
    alone = [losses.lpips(one, target, weight=weight, reduction="none") for one in inputs]
    with keeping_features(target):
        together = [losses.lpips(one, target, weight=weight, reduction="none") for one in inputs]
        other = losses.lpips(target, inputs[0], reduction="none")
    assert all(map(torch.equal, together, alone))
    assert torch.equal(other, losses.lpips(target, inputs[0], reduction="none"))


def test_features_that_are_kept_are_computed_once(monkeypatch):
    _, target = random_pair(height=48, width=40)
    inputs = [random_pair(height=48, width=40, seed=seed)[0] for seed in (1, 2, 3)]
    seen = []
    module = sys.modules[losses.lpips.__module__]
    original = module._normalised
    monkeypatch.setattr(module, "_normalised", lambda some: seen.append(len(some)) or original(some))
    with keeping_features(target), torch.inference_mode():
        for one in inputs:
            losses.lpips(one, target)
    assert sum(seen) == 2 * (1 + len(inputs))
