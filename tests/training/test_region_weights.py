"""Weights of pixels: as options and in training."""

import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches.batch import Batch
from lossarium.models.prediction import Prediction
from lossarium.training.configuration import RegionWeights
from lossarium.training.region_weights import MaskOptions, parse_mask, pixel_weights
from lossarium.training.step import loss_terms, term_names
from tests.bounds import rounding_error, summation_error


def regions():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(2, 4, 1, 8, 8, generator=generator) for name in ("face", "eyes", "mouth")}


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("none", None),
        ("stored", MaskOptions("stored")),
        ("extended", MaskOptions("extended")),
        (" components( dilation=-2 ,blur = 1.5 ) ", MaskOptions("components", -2, 1.5)),
    ],
)
def test_masks_are_read_and_written(text, mask):
    assert parse_mask(text) == mask
    assert mask is None or parse_mask(str(mask)) == mask


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hat", "there is no such mask; choose from none, stored, components, extended"),
        ("stored(blur=1)", 'no option "blur"'),
        ("extended(blur=-1)", "blur is a number of pixels"),
        ("extended(dilation=1000)", "dilation one from"),
        ("none(blur=1)", 'no option "blur"'),
    ],
)
def test_mistakes_are_named(text, reason):
    with pytest.raises(LossariumError, match=reason):
        parse_mask(text)


def test_multipliers_of_1_change_nothing():
    assert pixel_weights(RegionWeights(), regions()) is None


def test_weights_are_the_products_of_what_regions_count():
    face, eyes, mouth = regions().values()
    weights = pixel_weights(RegionWeights(True, 3, 0.5), regions())
    # Six operations either way.
    expected = face.double() * (1 + 2 * eyes.double()) * (1 - 0.5 * mouth.double())
    assert ((weights - expected).abs() <= rounding_error(8, torch.float32) * expected).all()


class Guess(torch.nn.Module):
    """Always the same pictures, at two scales, and masks."""

    def __init__(self, masks):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.pictures = torch.nn.Parameter(torch.rand(2, 4, 3, 8, 8, generator=generator))
        self.coarse = torch.nn.Parameter(torch.rand(2, 4, 3, 4, 4, generator=generator))
        self.masks = torch.nn.Parameter(torch.rand(2, 4, 1, 8, 8, generator=generator)) if masks else None

    def forward(self, pictures, identities):
        del pictures, identities
        return Prediction(self.pictures, (self.coarse,), self.masks)


def batch(regions):
    return Batch(torch.zeros(2, 4, 3, 8, 8), torch.full((2, 4, 3, 8, 8), 0.5), regions)


def test_pixels_outside_the_face_have_no_gradient_at_any_scale():
    face = torch.zeros(2, 4, 1, 8, 8)
    face[..., :4, :] = 1
    model, loss = Guess(masks=False), losses.get("mse + 0.5*mae")
    terms = loss_terms(
        model, loss, batch({"face": face}), identities=2, precision="float32", weights=RegionWeights(True)
    )
    terms.sum().backward()
    assert term_names(loss, len(terms)) == ["mse", "0.5*mae"]
    for gradient, middle in ((model.pictures.grad, 4), (model.coarse.grad, 2)):
        assert gradient[..., :middle, :].count_nonzero() > 0
        assert gradient[..., middle:, :].count_nonzero() == 0


def test_masks_are_learned_from_the_face():
    model, loss, face = Guess(masks=True), losses.get("mse"), regions()["face"]
    terms = loss_terms(model, loss, batch(regions()), identities=2, precision="float32")
    assert term_names(loss, len(terms)) == ["mse", "mask"]
    # A mean of squares, and their slopes: three roundings of a difference that is exact to u.
    squares = (model.masks.detach() - face).double().square()
    allowed = summation_error(squares.numel(), torch.float32) + rounding_error(3, torch.float32)
    assert terms[1].item() == pytest.approx(squares.mean().item(), rel=allowed)
    terms.sum().backward()
    slopes = 2 * (model.masks.detach() - face) / model.masks.numel()
    allowed = 2 * rounding_error(4, torch.float32)
    assert ((model.masks.grad - slopes).abs() <= allowed * slopes.abs()).all()


def test_a_model_that_learns_masks_needs_the_option_mask():
    with pytest.raises(LossariumError, match=r"learns masks.*--mask extended"):
        loss_terms(Guess(masks=True), losses.get("mse"), batch({}), identities=2, precision="float32")
