"""Optimisers: made by name, and their state saved and restored bit by bit."""

import copy
import doctest
import json
import sys
import types

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from lossarium.errors import LossariumError
from lossarium.training.options import optimizers
from lossarium.training.options.optimizers import (
    NAMES,
    Optimizer,
    make,
    parse,
    restore_state,
    state_numbers,
    state_tensors,
)

TEXTS = [
    *NAMES,
    "adam(betas=[0.5, 0.99], epsilon=1e-6, weight_decay=0.01, amsgrad=true)",
    "adamw(weight_decay=0.1)",
    "nadam(momentum_decay=0.01)",
    "sgd(momentum=0.9, nesterov=true, weight_decay=1e-4)",
    "sgd(momentum=0.9, dampening=0.1)",
    "rmsprop(momentum=0.5, centered=true, alpha=0.9)",
]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        # 1x1 kernels and a single channel have strides that say nothing about the layout.
        self.body = nn.Sequential(
            nn.Conv2d(3, 7, 5, padding=2), nn.GELU(), nn.Conv2d(7, 5, 1), nn.Conv2d(5, 1, 3, padding=1)
        )
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.body(x)


def model_of(seed=0):
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = Small().to(memory_format=torch.channels_last)
    torch.set_rng_state(state)
    return model


def run(model, optimizer, steps):
    for step in steps:
        picture = torch.sin(torch.arange(2 * 3 * 9 * 8) * 0.37 + step).reshape(2, 3, 9, 8)
        optimizer.zero_grad()
        torch.autograd.backward((model(picture) - picture.mean(1, keepdim=True)).square().mean())
        optimizer.step()


def through_a_file(optimizer):
    content = save({name: tensor.contiguous() for name, tensor in state_tensors(optimizer).items()})
    return load(content), json.loads(json.dumps(state_numbers(optimizer), allow_nan=False))


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_resumes_exactly(make_one, rate_of=lambda _step: 0.01):
    def train(model, optimizer, steps):
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = rate_of(step)
            run(model, optimizer, [step])

    straight = model_of()
    train(straight, make_one(straight), range(8))

    first = model_of()
    optimizer = make_one(first)
    train(first, optimizer, range(4))
    second = model_of(seed=1)
    second.load_state_dict(first.state_dict())
    resumed = make_one(second)
    restore_state(resumed, *through_a_file(optimizer))
    for parameter, other in zip(second.parameters(), first.parameters(), strict=True):
        ours, theirs = resumed.state.get(parameter, {}), optimizer.state.get(other, {})
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            if isinstance(value, torch.Tensor):
                assert (ours[key].stride(), ours[key].dtype) == (value.stride(), value.dtype)
                assert ours[key].data_ptr() != value.data_ptr()
    train(second, resumed, range(4, 8))

    expected, found = weights(straight), weights(second)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(found["body.0.weight"], weights(model_of())["body.0.weight"])


@pytest.mark.parametrize("text", TEXTS)
def test_a_restored_optimiser_continues_bit_by_bit(text):
    assert_resumes_exactly(
        lambda model: make(parse(text), model.parameters(), 0.01), rate_of=lambda step: 0.01 / (1 + step)
    )


@pytest.mark.parametrize(
    "text", ["lion", "adabelief", "lion(betas=[0.9, 0.95])", "soap", "ranger21(num_iterations=20)"]
)
def test_optimisers_of_the_package_continue_too(text):
    assert_resumes_exactly(lambda model: make(parse(text), model.parameters(), 0.01))


class Odd(torch.optim.Optimizer):
    """Keeps its state in every place that an optimiser could."""

    def __init__(self, params, lr=0.1, eps=1e-3):
        super().__init__(params, {"lr": lr, "eps": eps})
        self.calls = 0
        self.peak = float("-inf")

    @torch.no_grad()
    def step(self):
        self.calls += 1
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state.update(
                        past=[], pair=(torch.zeros_like(p), None), count=0, nested={"scale": 1.0, 3: True}
                    )
                state["past"] = [*state["past"][-2:], p.grad.transpose(0, -1).clone()]
                state["count"] += 1
                state["nested"]["scale"] *= 1.1
                state["pair"][0].add_(p.grad)
                self.peak = max(self.peak, p.grad.max().item())
                shared = self.state.setdefault("shared", {"sum": torch.zeros(2, dtype=torch.float64)})
                shared["sum"] += p.grad.double().sum()
                move = sum(past.transpose(0, -1) for past in state["past"]) + 0.1 * state["pair"][0]
                scale = state["nested"]["scale"] / (group["step"] + state["count"] + self.calls)
                p.sub_(move * (group["lr"] * scale * (1 + self.peak + 1e-3 * shared["sum"][0].item())))


def test_state_in_lists_groups_attributes_and_shared_state_continues_too():
    assert_resumes_exactly(lambda model: Odd(model.parameters()))


def test_a_rollback_to_before_the_first_step_restores_an_empty_state():
    model = model_of()
    optimizer = Odd(model.parameters())
    tensors, numbers = through_a_file(optimizer)
    run(model, optimizer, range(2))
    restore_state(optimizer, tensors, numbers)
    assert (len(optimizer.state), "step" in optimizer.param_groups[0], optimizer.calls) == (0, False, 0)
    assert optimizer.param_groups[0]["params"][0] is next(model.parameters())


def test_state_that_needs_code_is_refused():
    model = model_of()
    optimizer = Odd(model.parameters())
    optimizer.state["shared"] = {"random": torch.Generator()}
    with pytest.raises(LossariumError, match="Odd keeps a Generator"):
        state_tensors(optimizer)


def _without(key):
    def damage(numbers):
        del numbers[key]

    return damage


def _strides(value):
    def damage(numbers):
        state = dict(numbers["state"][1]["dict"])
        state["exp_avg"]["strides"] = value

    return damage


def _set(key, value):
    def damage(numbers):
        numbers[key] = value

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _without("state"),
        _without("groups"),
        _set("optimizer", "SGD"),
        _set("state", []),
        _set("state", 5),
        _set("groups", [{"dict": [["params", []]]}]),
        _set("groups", [{"dict": [["lr", 1]]}]),
        _set("groups", [7]),
        _set("attributes", {"dict": [["step", 1]]}),
        _set("attributes", {"dict": [["param_groups", []]]}),
        _set("attributes", {"dict": [["zero_grad", 1]]}),
        _set("attributes", {"dict": [["count", {"list": []}]]}),
        _set("attributes", {"dict": [[{}, 1]]}),
        _set("shared", {"tensor": "no such", "strides": None, "home": True}),
        _set("shared", {"list": [1]}),
        _set("shared", {"nothing": []}),
        _strides([0, 0, 0, 0]),
        _strides([10**15, 1, 1, 1]),
        _strides([-1, -1, -1, -1]),
        _strides([1]),
        _strides(["1", 1, 1, 1]),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage):
    model = model_of()
    optimizer = make(Optimizer("adam"), model.parameters(), 0.01)
    run(model, optimizer, range(2))
    tensors, numbers = through_a_file(optimizer)
    before = copy.deepcopy(optimizer.state_dict())
    damage(numbers)
    with pytest.raises(LossariumError, match="cannot be restored"):
        restore_state(optimizer, tensors, numbers)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for index, state in before["state"].items():
        assert all(torch.equal(value, after["state"][index][key]) for key, value in state.items())


def test_torchs_optimisers_have_torchs_defaults_and_are_fused():
    model = model_of()
    for name in NAMES:
        made = make(Optimizer(name), model.parameters(), 0.02)
        assert made.param_groups[0]["lr"] == 0.02
        assert bool(made.param_groups[0].get("fused")) == (name in ("adam", "adamw", "sgd"))
        theirs = getattr(torch.optim, type(made).__name__)(model.parameters(), lr=0.02)
        defaults = {key: value for key, value in theirs.defaults.items() if key != "fused"}
        assert {key: made.defaults[key] for key in defaults} == defaults


def test_options_reach_the_optimiser():
    made = make(parse(TEXTS[len(NAMES)]), model_of().parameters(), 0.1)
    group = made.param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.5, 0.99), 1e-6, 0.01)
    assert group["amsgrad"] is True
    group = make(Optimizer("sgd", momentum=0.9, nesterov=True), model_of().parameters(), 0.1).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)


@pytest.mark.parametrize("text", TEXTS)
def test_reads_and_writes_canonically(text):
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Optimizer("adam", momentum=0.9), 'adam has no option "momentum"'),
        (Optimizer("sgd", betas=(0.9, 0.99)), 'sgd has no option "betas"'),
        (Optimizer("adam", options=(("amsgrads", True),)), "did you mean amsgrad"),
        (Optimizer("adam", options=(("fused", False),)), 'no option "fused"'),
        (Optimizer("adam", options=(("lr", 1),)), 'no option "lr"'),
        (Optimizer("sgd", nesterov=True), "Nesterov momentum requires"),
        (Optimizer("adam", betas=(0.9, 1.5)), "refused"),
        (Optimizer("adam", betas=(0.9,)), "refused"),
        (Optimizer("adam", weight_decay=-1.0), "refused"),
    ],
)
def test_refuses_by_name_what_an_optimiser_does_not_take(config, said):
    with pytest.raises(LossariumError, match=said):
        make(config, model_of().parameters(), 0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adam(0.9)", "with its name"),
        ("adam(betas=0.9)", "a list"),
        ("adam(epsilon=small)", "epsilon is a number"),
        ("sgd(nesterov=1)", "true or false"),
    ],
)
def test_says_what_is_wrong(text, said):
    with pytest.raises(LossariumError, match=said):
        parse(text)


def test_a_missing_package_is_named_with_the_command_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    for name, said in (("lion", "pip install pytorch-optimizer"), ("adm", "did you mean adam")):
        with pytest.raises(LossariumError, match=said):
            make(Optimizer(name), model_of().parameters(), 0.1)


def test_optimisers_that_torch_lacks_come_from_the_package(monkeypatch):
    package = types.ModuleType("pytorch_optimizer")
    package.get_supported_optimizers = lambda: ["odd", "adamw", "sophiah"]
    package.load_optimizer = {"odd": Odd}.__getitem__
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", package)
    made = make(Optimizer("odd", epsilon=0.5), model_of().parameters(), 0.3)
    assert (type(made), made.defaults) == (Odd, {"lr": 0.3, "eps": 0.5})
    assert type(make(Optimizer("adamw"), model_of().parameters(), 0.3)) is torch.optim.AdamW
    for name, said in (("od", "did you mean odd"), ("sophiah", "second derivatives")):
        with pytest.raises(LossariumError, match=said):
            make(Optimizer(name), model_of().parameters(), 0.1)


def test_examples_in_docstrings():
    assert doctest.testmod(optimizers).attempted > 0
    assert doctest.testmod(optimizers).failed == 0
