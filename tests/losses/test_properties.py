"""Properties of every loss in the registry."""

from functools import partial

import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from tests.bounds import LONGEST_CHAIN, apart, error_bound
from tests.losses.kernel_cases import check_slope
from tests.losses.pictures import extremes, random_pair

ALL = losses.names()
NAMES = tuple(name for name in ALL if losses.info(name).objective)
EXACT = [name for name in NAMES if losses.info(name).family == "pixel" and name not in ("linf", "mase")]
# These divide by the target, weigh values that are too dark differently from ones that are too bright, or
# compare the truth and the prediction with their mean.
ASYMMETRIC = {"mape", "mase", "mdsi"}
# Measured on luminance or colour, in which channels differ.
CHANNELS_DIFFER = {"gmsd", "ms_gmsd", "mdsi", "haarpsi", "nlpd", "flip", "lpips"}
# Their windows are not symmetric, as in the authors' code: half a pixel off the centre, fitted to pictures.
OFF_CENTRE = {"haarpsi", "nlpd", "lpips"}
TRANSPOSABLE = {"haarpsi"}
# How far, in pixels, a loss reaches beyond the pixels that count, at 32 pixels a side.
REACH = {
    "ssim": 5, "uqi": 4, "ms_ssim": 10, "mix": 16, "gmsd": 2, "ms_gmsd": 8, "mdsi": 1, "haarpsi": 8,
    "pixel_gradient": 1, "flip": 10
}  # fmt: skip
COLORS = ("rgb", "gray")
SIDE = 32


# Two ways to sum the same, each a chain of at most so many roundings (LDR-FLIP's is the longest). Measures
# with a sign cancel: what they lose is relative to the errors, which are about 0.2.
APART = apart(torch.float32, 2 * LONGEST_CHAIN)
near = partial(torch.allclose, rtol=APART, atol=0.2 * APART)


def function(name: str):
    return losses.info(name).function


@pytest.mark.parametrize("name", NAMES)
def test_is_zero_at_equality_and_positive_elsewhere(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    assert function(name)(target, target.clone()).item() == 0
    assert function(name)(input, target).item() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_grows_with_the_error(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    values = [function(name)(torch.lerp(target, input, share), target).item() for share in (0.25, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] < values[2]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ASYMMETRIC])
def test_is_symmetric(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    assert near(function(name)(input, target), function(name)(target, input))


TURNS = {"transposed": lambda x: x.mT, "upside down": lambda x: x.flip(2), "mirrored": lambda x: x.flip(3)}


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        (name, turned)
        for name in ALL
        for turned in TURNS
        if name not in OFF_CENTRE or (name in TRANSPOSABLE and turned == "transposed")
    ],
)
def test_is_invariant_to_mirroring_and_transposing(name, turned):
    input, target = random_pair()
    turn = TURNS[turned]
    assert near(function(name)(input, target), function(name)(turn(input), turn(target)))


@pytest.mark.parametrize("name", [name for name in ALL if name not in CHANNELS_DIFFER])
def test_is_invariant_to_the_order_of_channels(name):
    input, target = random_pair()
    turn = partial(torch.flip, dims=(1,))
    turned = function(name)(turn(input), turn(target))
    assert near(function(name)(input, target), turned)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("case", extremes())
def test_value_and_gradient_are_finite_on_extremes(name, case):
    input, target = extremes(SIDE)[case]
    input = input.clone().requires_grad_()
    value = function(name)(input, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(input.grad).all()


# The focal weights of ffl are constants in its gradient: tests/losses/test_frequency.py has its own test.
@pytest.mark.parametrize("name", [name for name in ALL if name not in ("lpips", "ffl")])
def test_gradient_equals_finite_differences(name):
    input, target = random_pair(height=13, width=12, channels=1, dtype=torch.float64)
    weight = torch.rand(2, 1, 13, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(name)(x, target, weight=weight), (input,))


def test_lpips_gradient_equals_a_finite_difference():
    input, target = random_pair(height=SIDE, width=SIDE, dtype=torch.float64)
    direction = torch.randn(input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    check_slope(lambda x: losses.lpips(x, target), input, direction, step=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pictures_are_computed_in_float32(name, dtype):
    input, target = (picture.to(dtype) for picture in random_pair(height=SIDE, width=SIDE))
    value = function(name)(input, target)
    assert value.dtype == torch.float32
    assert torch.equal(value, function(name)(input.float(), target.float()))


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_reach_inside(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    loss = losses.get(name)
    # In double precision the plain operations are under autocast, which would halve their products.
    for dtype in (torch.float32, torch.float64):
        outside, inside = (input.to(dtype, copy=True).requires_grad_() for _ in range(2))
        value = loss(outside, target.to(dtype))
        value.backward()
        with torch.autocast("cpu", torch.bfloat16):
            under = loss(inside, target.to(dtype))
        under.backward()
        assert under.dtype is dtype
        assert torch.equal(under, value)
        assert torch.equal(inside.grad, outside.grad)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in ALL]
    + [(name, {"color": color}) for name in ALL if "color" in losses.info(name).options for color in COLORS],
    ids=str,
)
def test_autocast_does_not_reach_inside_plain_functions_and_maps(name, options):
    input, target = random_pair(height=SIDE, width=SIDE)
    info = losses.info(name)
    with losses.without_kernels():
        expected = info.function(input, target, **options)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(info.function(input, target, **options), expected)
    if info.map is not None:
        map = losses.map(name, input, target, **options)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(losses.map(name, input, target, **options), map)


@pytest.mark.parametrize("name", ALL)
def test_reduction_none_gives_one_value_per_picture(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    each = function(name)(input, target, reduction="none")
    assert each.shape == (2,)
    assert near(each.mean(), function(name)(input, target))
    alone = function(name)(input[1:], target[1:])
    assert near(each[1], alone)


@pytest.mark.parametrize("name", ALL)
def test_a_weight_of_one_changes_nothing_and_the_scale_of_weights_does_not_matter(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    plain = function(name)(input, target)
    for scale in (1.0, 0.01, 300.0):
        weight = torch.full((2, 1, SIDE, SIDE), scale)
        assert near(function(name)(input, target, weight=weight), plain)


@pytest.mark.parametrize("name", NAMES)
def test_errors_where_the_weight_is_zero_do_not_count(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    weight = torch.zeros(2, 1, SIDE, SIDE)
    weight[:, :, : SIDE // 2] = 1
    input = input.clone().requires_grad_()
    function(name)(input, target, weight=weight).backward()
    beyond = SIDE // 2 + REACH.get(name, 0)
    assert beyond == SIDE or input.grad[:, :, beyond:].abs().max() == 0
    assert input.grad[:, :, : SIDE // 2].abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_without_weight_counts_zero(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    weight = torch.ones(2, 1, SIDE, SIDE)
    weight[0] = 0
    input = input.clone().requires_grad_()
    each = function(name)(input, target, weight=weight, reduction="none")
    each.sum().backward()
    assert each[0] == 0
    assert each[1] > 0
    assert input.grad[0].abs().max() == 0
    assert torch.isfinite(input.grad).all()


@pytest.mark.parametrize("name", EXACT)
def test_weighted_mean_is_exact_for_a_single_wrong_region(name):
    """Where the error is alike everywhere it counts, the weight's amount there must not matter."""
    target = torch.full((1, 3, SIDE, SIDE), 0.4)
    input = target.clone()
    input[..., :8] += 0.3
    weight = torch.zeros(1, 1, SIDE, SIDE)
    weight[..., :2] = 5
    constant = function(name)(target + 0.3, target)
    assert near(function(name)(input, target, weight=weight), constant)


@pytest.mark.parametrize("name", [name for name in ALL if losses.info(name).pixel_map])
def test_the_mean_of_the_map_is_the_loss(name):
    input, target = random_pair(height=SIDE, width=SIDE - 3)
    map = losses.map(name, input, target)
    assert map.shape[:2] == (2, 1)
    value = function(name)(input, target, reduction="none")
    assert near(map.mean(dim=(1, 2, 3)), value)


@pytest.mark.parametrize("name", [name for name in ALL if losses.info(name).pixel_map])
def test_transposing_the_pictures_transposes_the_map(name):
    # In float64, since the slope at single pixels may be arbitrarily large.
    input, target = random_pair(height=SIDE, width=SIDE - 4, dtype=torch.float64)
    difference = losses.map(name, input.mT, target.mT).mT - losses.map(name, input, target)
    # LDR-FLIP's chain is the longest.
    allowed = error_bound(partial(losses.map, name), input, target, roundings=2 * LONGEST_CHAIN)
    assert (difference.abs() <= 2 * allowed).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("along", [2, 3])
def test_sees_stripes_along_either_side_and_in_a_single_channel(name, along):
    target = torch.full((1, 3, SIDE, SIDE), 0.5)
    stripes = 0.3 * (torch.arange(SIDE) // 2 % 2) - 0.15
    input = target.clone()
    input[:, 1] += stripes if along == 3 else stripes[:, None]
    change = function(name)(input, target) - function(name)(target, target)
    # The signed measures see bright and dark stripes cancel.
    assert abs(change) > 1e-3 or (name in ("mbe", "mpe") and abs(change) < 0.3 * APART)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_is_measured_or_refused_in_words(name, channels):
    input, target = random_pair(height=SIDE, width=SIDE, channels=channels)
    if name == "lpips" or (name == "flip" and channels != 1):
        with pytest.raises(LossariumError, match=r"channel|RGB"):
            function(name)(input, target)
    else:
        assert torch.isfinite(function(name)(input, target))


@pytest.mark.parametrize("name", ALL)
def test_can_be_differentiated_twice(name):
    """With create_graph, as penalties on gradients need it, whatever way the value was measured."""
    input, target = random_pair(height=SIDE, width=SIDE)
    input.requires_grad_()
    (gradient,) = torch.autograd.grad(function(name)(input, target), input, create_graph=True)
    with losses.without_kernels():
        (plain,) = torch.autograd.grad(function(name)(input, target), input, create_graph=True)
    # Differentiable gradients come from the plain operations, whatever the value came from: the same bits.
    assert torch.equal(gradient, plain)
    assert gradient.requires_grad == plain.requires_grad
    if plain.requires_grad:  # Not that of a mean of signs, which is constant.
        direction = torch.randn(input.shape, generator=torch.Generator().manual_seed(2))
        second, of_plain = (torch.autograd.grad((g * direction).sum(), input)[0] for g in (gradient, plain))
        assert torch.isfinite(second).all()
        # Added up in another order; sums may cancel.
        assert (second - of_plain).abs().max() <= APART * of_plain.abs().max()


@pytest.mark.parametrize("name", ALL)
def test_a_retained_graph_gives_the_same_gradient_again(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    input.requires_grad_()
    value = function(name)(input, target) * 3
    (first,) = torch.autograd.grad(value, input, retain_graph=True)
    kept = first.clone()
    first.zero_()
    (second,) = torch.autograd.grad(value, input)
    assert torch.equal(kept, second)


@pytest.mark.parametrize("name", ALL)
def test_pictures_of_bytes_are_refused(name):
    picture = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    with pytest.raises(LossariumError, match="divide bytes by 255"):
        function(name)(picture, picture)


@pytest.mark.parametrize("name", ALL)
def test_negative_weights_are_refused(name):
    picture = torch.zeros(1, 3, SIDE, SIDE)
    for wrong in (-1.0, float("nan")):
        weight = torch.ones(1, 1, SIDE, SIDE)
        weight[..., 3, 4] = wrong
        with pytest.raises(LossariumError, match="negative"):
            function(name)(picture, picture, weight=weight)


@pytest.mark.parametrize("name", ALL)
def test_mismatched_shapes_are_refused(name):
    picture = torch.zeros(1, 3, SIDE, SIDE)
    with pytest.raises(LossariumError, match="shape"):
        function(name)(picture, picture[..., 1:])
    with pytest.raises(LossariumError, match="weight must have the shape"):
        function(name)(picture, picture, weight=torch.ones(1, 3, SIDE, SIDE))
