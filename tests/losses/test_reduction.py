"""The shapes that every loss takes, how it reduces them, and what it says of NaN."""

import math
from functools import partial

import pytest
import torch

import lossarium
from lossarium import losses
from lossarium.errors import LossariumError
from tests.bounds import apart
from tests.losses.pictures import random_pair

ALL = losses.names()
SIDE = 32
# Bounded, or defined on [0, 1]: an infinite value counts as the furthest one.
BOUNDED = {("general", -math.inf), ("general", -2.0), ("flip", None)}
WITH_OPTIONS = [(name, {}) for name in ALL] + [
    ("general", {"alpha": alpha}) for alpha in (2.0, 0.0, -2.0, -math.inf, 0.5, 1.99, 3.0, math.inf)
]


# Measures with a sign cancel: what they lose is relative to the errors, which are about 0.2.
APART = apart(torch.float32)
near = partial(torch.allclose, rtol=APART, atol=0.2 * APART)


def function(name):
    return losses.info(name).function


@pytest.mark.parametrize("name", ALL)
def test_a_sum_is_the_sum_of_the_pictures_values_and_gradients(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    leaf, again = input.clone().requires_grad_(), input.clone().requires_grad_()
    value = function(name)(leaf, target, reduction="sum")
    each = function(name)(again, target, reduction="none")
    value.backward()
    each.sum().backward()
    assert near(value, each.sum())
    assert torch.equal(leaf.grad, again.grad)


@pytest.mark.parametrize("name", ALL)
def test_a_single_picture_is_a_batch_of_one(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    weight = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    first = input[:1].clone().requires_grad_()
    batch = function(name)(first, target[:1], weight=weight[:1])
    batch.backward()
    batch = batch.detach()
    single = input[0].clone().requires_grad_()
    for reduction in ("mean", "sum", "none"):
        value = function(name)(single, target[0], weight=weight[0], reduction=reduction)
        assert value.shape == ()
        # A kernel with a gradient and one without add up in another order.
        assert near(value, batch)
    value.backward()
    assert torch.equal(single.grad, first.grad[0])


@pytest.mark.parametrize("name", ALL)
def test_video_is_a_batch_of_its_frames(name):
    input, target = random_pair(height=SIDE, width=SIDE)
    video = torch.stack((input, input.flip(0), target)).requires_grad_()
    truth = target.expand(3, *target.shape)
    weight = torch.rand(3, 2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    each = function(name)(video, truth, weight=weight, reduction="none")
    batch = video.detach().flatten(0, 1).requires_grad_()
    frames = function(name)(batch, truth.flatten(0, 1), weight=weight.flatten(0, 1), reduction="none")
    assert each.shape == (3, 2)
    assert near(each.flatten(), frames)
    (each * torch.arange(6.0).view(3, 2)).sum().backward()
    (frames * torch.arange(6.0)).sum().backward()
    assert torch.equal(video.grad.flatten(0, 1), batch.grad)
    assert near(function(name)(video, truth, weight=weight), frames.mean())


def test_maps_of_single_pictures_and_video_keep_their_dimensions():
    # The squared error of a pixel is the same to the last bit in any batch; a library may sum the windows
    # of SSIM in another order for another number of pictures.
    input, target = random_pair(height=SIDE, width=SIDE)
    batch = losses.map("mse", input, target)
    assert torch.equal(losses.map("mse", input[0], target[0]), batch[0])
    assert torch.equal(losses.map("mse", input[:, None], target[:, None]), batch[:, None])
    windows = losses.map("ssim", input, target)
    assert losses.map("ssim", input[0], target[0]).shape == windows[0].shape
    assert losses.map("ssim", input[:, None], target[:, None]).shape == windows[:, None].shape


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((32, 24, 3), "(N, 1, H, W)"), ((2, 3, 5, 24, 20), "movedim(2, 1)"), ((24, 20), "(C, H, W)")],
)
def test_shapes_that_could_be_taken_for_others_are_refused_with_the_remedy(shape, remedy):
    picture = torch.zeros(shape)
    with pytest.raises(LossariumError) as caught:
        losses.mse(picture, picture)
    assert remedy in str(caught.value)


def test_a_weight_must_have_the_dimensions_of_its_pictures():
    picture = torch.zeros(3, 24, 20)
    with pytest.raises(LossariumError, match=r"weight must have the shape \(1, 24, 20\)"):
        losses.mse(picture, picture, weight=torch.ones(1, 1, 24, 20))


@pytest.mark.parametrize("name", ALL)
def test_an_empty_batch_is_refused(name):
    empty = torch.zeros(0, 3, SIDE, SIDE)
    with pytest.raises(LossariumError, match="the batch is empty"):
        function(name)(empty, empty)


def test_anything_but_a_tensor_or_reduction_is_refused():
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(LossariumError, match="tensors, not ndarray and Tensor"):
        losses.mse(picture.numpy(), picture)
    for name in ALL:
        big = torch.zeros(1, 3, SIDE, SIDE)
        with pytest.raises(LossariumError, match="reduction must be"):
            function(name)(big, big, reduction="median")


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS, ids=str)
@pytest.mark.parametrize("plainly", [False, True], ids=["kernel", "plain"])
def test_nan_anywhere_gives_nan_whatever_its_weight(name, options, plainly):
    for wrong in ("input", "target"):
        pictures = dict(zip(("input", "target"), random_pair(height=SIDE, width=SIDE), strict=True))
        pictures[wrong][0, 1, 5, 6] = math.nan
        away, without = torch.ones(2, 1, SIDE, SIDE), torch.ones(2, 1, SIDE, SIDE)
        away[0, 0, 5, 6] = 0
        without[0] = 0
        for weight in (None, away, without):
            leaf = pictures["input"].clone().requires_grad_()
            each, alone = (
                _measured(name, plainly, picture, pictures["target"], weight, options)
                for picture in (leaf, pictures["input"])
            )
            assert torch.isnan(each[0])
            assert torch.isnan(alone[0])
            assert torch.isfinite(each[1])
            each.sum().backward()
            # The other picture's gradient is its own.
            assert torch.isfinite(leaf.grad[1]).all()


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS, ids=str)
@pytest.mark.parametrize("plainly", [False, True], ids=["kernel", "plain"])
def test_infinity_gives_infinity_or_nan_or_the_limit_of_a_bounded_loss(name, options, plainly):
    for sign in (1, -1):
        input, target = random_pair(height=SIDE, width=SIDE)
        input[0, 1, 5, 6] = sign * math.inf
        measured = _measured(name, plainly, input, target, None, options)[0]
        if torch.isfinite(measured):
            assert (name, options.get("alpha")) in BOUNDED
            input[0, 1, 5, 6] = sign * 1e6
            limit = _measured(name, plainly, input, target, None, options)[0]
            assert near(measured, limit)


def _measured(name, plainly, input, target, weight, options):
    if not plainly:
        return function(name)(input, target, weight=weight, reduction="none", **options)
    with losses.without_kernels():
        return function(name)(input, target, weight=weight, reduction="none", **options)


def test_importing_the_package_gives_its_losses():
    assert lossarium.losses is losses
    with pytest.raises(AttributeError, match="no attribute 'loses'"):
        lossarium.loses  # noqa: B018
