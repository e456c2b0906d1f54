"""The loss module: the report of its terms."""

import pytest
import torch

from lossarium import losses
from lossarium.losses.module import TermReport
from tests.bounds import apart
from tests.losses.pictures import random_pair

NEAR = apart(torch.float32)


def test_reports_value_and_gradient_norm_as_computed_by_hand():
    """Of mse the gradient is 2 (x - y) / n, of mae sign(x - y) / n."""
    input, target = random_pair(dtype=torch.float64)
    count = input.numel()
    mse, mae = losses.get("0.25*mse + 3*mae").report(input, target)
    error = input - target
    assert mse == TermReport(
        "0.25*mse",
        pytest.approx(0.25 * float(error.square().mean()), rel=apart(torch.float64)),
        pytest.approx(0.25 * 2 * float(error.square().sum().sqrt()) / count, rel=apart(torch.float64)),
    )
    assert mae == TermReport(
        "3*mae",
        pytest.approx(3 * float(error.abs().mean()), rel=apart(torch.float64)),
        pytest.approx(3 * count**-0.5, rel=apart(torch.float64)),
    )


def test_reported_values_add_up_to_the_loss():
    input, target = random_pair()
    weight = torch.rand(2, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    loss = losses.get("ssim + 0.5*mae + 0.1*ffl")
    reports = loss.report(input, target, weight)
    assert [report.term for report in reports] == ["ssim", "0.5*mae", "0.1*ffl"]
    assert sum(report.value for report in reports) == pytest.approx(
        float(loss(input, target, weight)), rel=NEAR
    )
    for report, alone in zip(reports, ("ssim", "0.5*mae", "0.1*ffl"), strict=True):
        prediction = input.clone().requires_grad_()
        losses.get(alone)(prediction, target, weight).backward()
        assert report.gradient_norm == pytest.approx(float(prediction.grad.norm()), rel=NEAR)


def test_reporting_leaves_the_training_step_alone():
    input, target = random_pair()
    latent = input.clone().requires_grad_()
    prediction = latent * 2
    prediction.retain_grad()
    loss = losses.get("ssim + mae")
    value = loss(prediction, target)
    loss.report(prediction, target)
    assert latent.grad is None
    assert prediction.grad is None
    value.backward()
    alone = input.clone().requires_grad_()
    loss(alone * 2, target).backward()
    assert torch.equal(latent.grad, alone.grad)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_reports_where_no_gradients_are_kept(context):
    loss = losses.get("ssim + mae + 0.1*gmsd")
    expected = loss.report(*random_pair())
    with context():
        input, target = random_pair()
        weight = torch.ones(2, 1, 24, 20)
        for report, same in zip(loss.report(input, target, weight), expected, strict=True):
            assert report.term == same.term
            assert report.value == pytest.approx(same.value, rel=NEAR)
            assert report.gradient_norm == pytest.approx(same.gradient_norm, rel=NEAR)


def test_half_precision_and_autocast_change_nothing_but_the_pictures():
    input, target = (picture.bfloat16() for picture in random_pair())
    loss = losses.get("mse + ssim")
    expected = loss.report(input.float(), target.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert loss.report(input, target) == expected


def test_equal_pictures_have_no_gradient():
    _, target = random_pair()
    assert losses.get("0.5*mae").report(target, target) == (TermReport("0.5*mae", 0.0, 0.0),)
