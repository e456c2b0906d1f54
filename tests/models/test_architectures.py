"""The face-swap trainers' models: their structure and the shapes of their outputs."""

import copy

import pytest
import torch
from torch import nn

from lossarium.errors import LossariumError
from lossarium.models.blocks import Upscale
from lossarium.models.dfl_h128 import dfl_h128
from lossarium.models.dfl_sae import DflSaeOptions, dfl_sae
from lossarium.models.faceswap import lightweight, original
from lossarium.models.prediction import predict
from lossarium.models.registry import parameter_count
from tests.bounds import sensitivity, unit_roundoff
from tests.models.small import SMALL, small

LIAE = {"architecture": "liae"}

# From faceswap itself, run in Keras: lightweight, original and df at their own sizes. The others are counted
# from its plugins by hand, layer by layer (in x out x kernel + out); for liae at 128 px, say:
# encoder 16,681,140 + 2 intermediates of 34,375,936 + decoder 36,313,581.
COUNTS = [
    ("lightweight", 64, {}, 51_066_374),
    ("original", 64, {}, 82_062_470),
    ("dfl_h128", 128, {}, 107_716_102),
    ("dfl_sae", 128, {}, 130_008_718),
    ("dfl_sae", 128, LIAE, 121_746_593),
    ("dfl_sae", 128, {"multiscale_decoder": True}, 130_008_718 + 2 * (504 * 75 + 3 + 252 * 75 + 3)),
    ("dfl_sae", 128, {"learn_mask": True}, 130_008_718 + 2 * 3_733_843),
    ("lightweight", 64, {"learn_mask": True}, 51_066_374 + 2 * (10_630_019 - 2 * (128 * 25 + 1))),
]


@pytest.mark.parametrize(("name", "size", "options", "count"), COUNTS)
def test_has_as_many_parameters_as_faceswap(name, size, options, count):
    assert parameter_count(name, size=size, identities=2, options=options) == count


@pytest.mark.parametrize(
    ("architecture", "counts"),
    [
        (lightweight, [51_066_374]),
        (original, [82_062_470]),
        (dfl_h128, [107_716_102]),
        (dfl_sae, [130_008_718, 121_746_593]),
    ],
)
def test_the_docstring_states_the_number_of_parameters(architecture, counts):
    assert all(f"{count:,}" in architecture.__doc__ for count in counts)


def test_default_sizes_are_those_of_the_originals():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in build().parameters()) for build in (lightweight, dfl_h128)]
    assert counts == [51_066_374, 107_716_102]


@pytest.mark.parametrize("which", SMALL)
@pytest.mark.parametrize("size", [64, 96, 128])
def test_gives_back_pictures_of_the_same_size_in_range(which, size):
    pictures = torch.rand(2, 3, 3, size, size)
    with torch.no_grad():
        decoded = small(which, size=size)(pictures, (0, 1))
    assert isinstance(decoded, torch.Tensor)
    assert decoded.shape == pictures.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert decoded.std() > 1e-3


@pytest.mark.parametrize("which", SMALL)
def test_a_swap_takes_the_route_of_the_other_identity(which):
    model = small(which, identities=3)
    pictures = torch.rand(3, 2, 3, 32, 32)
    exact = copy.deepcopy(model).double()
    # Some three roundings in each layer; none has more than forty layers one after the other.
    chain = 3 * 40
    with torch.no_grad():
        straight, swapped = model(pictures, (0, 1, 2)), model(pictures, (2, 0, 1))
        for slice_, identity in enumerate((2, 0, 1)):
            one = pictures[slice_ : slice_ + 1]
            alone = model(one, (identity,))[0]
            (expected,), (change,) = sensitivity(lambda x, to=identity: (exact(x, (to,))[0],), one.double())
            allowed = chain * (unit_roundoff(torch.float32) * expected.abs() + change.max())
            assert allowed.max() < 1e-4
            for found in (swapped[slice_], alone):
                assert ((found - expected).abs() <= allowed).all()
            assert (swapped[slice_] - straight[slice_]).abs().max() > 100 * allowed.max()


@pytest.mark.parametrize("which", SMALL)
def test_pictures_of_a_batch_do_not_affect_each_other(which):
    model = small(which)
    pictures = torch.rand(2, 3, 3, 32, 32, requires_grad=True)
    model(pictures, (1, 0))[1, 2].sum().backward()
    touched = pictures.grad.abs().amax(dim=(2, 3, 4)) > 0
    assert touched.tolist() == [[False, False, False], [False, False, True]]


@pytest.mark.parametrize("which", SMALL)
def test_the_encoder_runs_once_for_all_slices(which):
    model = small(which)
    seen = []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    model(torch.rand(2, 3, 3, 32, 32), (0, 1))
    assert seen == [(6, 3, 32, 32)]


@pytest.mark.parametrize("which", SMALL)
@pytest.mark.parametrize("identities", [1, 3])
def test_the_gradient_of_a_step_reaches_every_parameter(which, identities):
    extras = {"learn_mask": True} | ({"multiscale_decoder": True} if which in ("df", "liae") else {})
    model = small(which, identities=identities, **extras)
    prediction = predict(model, torch.rand(identities, 2, 3, 32, 32), range(identities))
    outputs = (prediction.pictures, prediction.masks, *prediction.coarser)
    sum(output.square().mean() for output in outputs).backward()
    still = [name for name, weight in model.named_parameters() if not weight.grad.abs().max() > 0]
    assert still == []


@pytest.mark.parametrize("which", SMALL)
def test_a_learnt_mask_has_the_size_of_the_pictures_and_leaves_them_alone(which):
    pictures = torch.rand(2, 3, 3, 32, 32)
    with torch.no_grad():
        with_mask = predict(small(which, learn_mask=True), pictures, (0, 1))
        without = predict(small(which), pictures, (0, 1))
    assert with_mask.masks.shape == (2, 3, 1, 32, 32)
    assert 0 <= with_mask.masks.min() < with_mask.masks.max() <= 1
    assert without.masks is None
    assert torch.equal(with_mask.pictures, without.pictures)


@pytest.mark.parametrize("which", ["df", "liae"])
def test_a_multiscale_decoder_gives_a_quarter_and_half_the_side_too(which):
    prediction = predict(small(which, size=64, multiscale_decoder=True), torch.rand(2, 3, 3, 64, 64), (0, 1))
    assert [scale.shape for scale in prediction.coarser] == [(2, 3, 3, 16, 16), (2, 3, 3, 32, 32)]
    assert prediction.pictures.shape == (2, 3, 3, 64, 64)
    assert all(0 <= scale.min() < scale.max() <= 1 for scale in prediction.coarser)


def test_liae_has_one_decoder_and_an_intermediate_for_each_identity_but_the_first():
    for identities in (1, 2, 4):
        model = small("liae", identities=identities)
        assert len(model.own) == identities - 1
        assert len([part for part in model.modules() if part is model.decoder]) == 1


def test_liae_gives_the_first_identity_the_shared_intermediate_twice():
    model = small("liae")
    codes = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0]))
    with torch.no_grad():
        model(torch.rand(2, 1, 3, 32, 32), (0, 1))
    of_first, of_second = (code.chunk(2) for code in codes[0])
    assert torch.equal(of_first[0], of_first[1])
    assert not torch.allclose(of_second[0], of_second[1])


@pytest.mark.parametrize("which", SMALL)
def test_as_many_identities_as_slices_are_needed(which):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        small(which)(torch.rand(2, 1, 3, 32, 32), (0,))


@pytest.mark.parametrize("which", SMALL)
def test_pictures_are_float32_under_autocast(which):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert small(which)(torch.rand(2, 1, 3, 32, 32), (0, 1)).dtype == torch.float32


@pytest.mark.parametrize("which", SMALL)
def test_the_loss_falls_during_training(which):
    model = small(which, size=16)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2 * 2, 3, 2, 2, generator=generator)
    pictures = nn.functional.interpolate(coarse, size=16, mode="bilinear").unflatten(0, (2, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    errors = []
    for _ in range(25):
        error = (model(pictures, (0, 1)) - pictures).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.8 * errors[0]


def test_every_picture_of_an_encoder_is_halved_with_five_by_five_kernels():
    with torch.device("meta"):
        encoder = dfl_sae().encoder
    kernels = [layer.kernel_size for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    strides = [layer.stride for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(5, 5)] * 4 + [(3, 3)]
    assert strides == [(2, 2)] * 4 + [(1, 1)]


def test_upscaling_keeps_pixels_where_they_are():
    upscale = Upscale(1, 1)
    with torch.no_grad():
        upscale[0].weight.zero_()
        upscale[0].weight[:, 0, 1, 1] = 1
        upscale[0].bias.zero_()
        pictures = torch.rand(1, 1, 3, 5)
        enlarged = upscale(pictures)
    assert torch.equal(enlarged, nn.functional.interpolate(pictures, scale_factor=2, mode="nearest"))


@pytest.mark.parametrize("build", [lightweight, original, dfl_h128, dfl_sae])
@pytest.mark.parametrize("size", [0, -16, 40])
def test_refuses_sizes_that_are_no_multiple_of_16(build, size):
    with pytest.raises(
        LossariumError, match=rf"{build.__name__} takes sizes that are multiples of 16, not {size}"
    ):
        build(size)


@pytest.mark.parametrize("build", [lightweight, original, dfl_h128, dfl_sae])
def test_refuses_zero_identities(build):
    with pytest.raises(LossariumError, match="at least one identity, not 0"):
        build(64, 0)


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(LossariumError, match=r'no architecture "laie"; did you mean liae\?'):
        DflSaeOptions(architecture="laie")
