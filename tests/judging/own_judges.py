"""Users' own judges, good and bad, for `package.module:name`."""

import numpy as np
import torch
from torch import nn

from lossarium.judging.judges import register


def largest_error(prediction, truth):
    """The largest error of any pixel.

    And a second paragraph.
    """
    return (prediction - truth).abs().amax((1, 2, 3))


@register(higher_is_better=True, unit="%", digits=1, title="Likeness", home_of=["mae", "huber"])
def likeness(prediction, truth, weight=None):
    """A hundred minus the mean error in per cent."""
    error = (prediction - truth).abs().mean(1, keepdim=True)
    counts = torch.ones_like(error) if weight is None else weight
    return 100 - 100 * (error * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3))


def of_numpy(prediction, truth):
    return np.abs(prediction.numpy() - truth.numpy()).mean(axis=(1, 2, 3)).tolist()


class Network(nn.Module):
    """Features of a network that is built once."""

    built = 0

    def __init__(self):
        super().__init__()
        Network.built += 1
        self.dropout = nn.Dropout(0.5)
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, prediction, truth):
        difference = self.convolution(prediction) - self.convolution(truth)
        return self.dropout(difference).abs().mean((1, 2, 3))


def random_crop(prediction, truth):
    """Measures a random crop, and changes its arguments in place."""
    row, column = torch.randint(0, 16, (2,)).tolist()
    error = (prediction - truth).abs()[..., row : row + 16, column : column + 16].mean((1, 2, 3))
    prediction.zero_()
    truth.zero_()
    return error


def similarity(prediction, truth):
    return 1 - (prediction - truth).abs().mean((1, 2, 3))


def sharpness(prediction, truth):
    del truth
    return prediction.diff(dim=3).abs().mean((1, 2, 3))


sharpness.higher_is_better = True


def one_number(prediction, truth):
    return (prediction - truth).abs().mean()


def a_map(prediction, truth):
    return (prediction - truth).abs()


def words(prediction, truth):
    del truth
    return ["good"] * len(prediction)


def nothing(prediction, truth):
    del prediction, truth


def fails(prediction, truth):
    return (prediction - truth) @ torch.zeros(7, 7)


def not_finite(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3)) * torch.inf


def one_argument(prediction):
    return prediction.mean((1, 2, 3))


def with_wrong_direction(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3))


with_wrong_direction.higher_is_better = "yes"


def with_wrong_digits(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3))


with_wrong_digits.digits = -1


def with_unknown_home(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3))


with_unknown_home.home_of = ["maa"]


def with_home_as_text(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3))


with_home_as_text.home_of = "mae"


def with_two_line_title(prediction, truth):
    return (prediction - truth).abs().mean((1, 2, 3))


with_two_line_title.title = "a\nb"


def squared(prediction, truth):
    """The mean squared error, of which nothing is declared."""
    return (prediction - truth).square().mean((1, 2, 3))


def squared_loss(input, target):
    """The mean squared error, as a user's own loss."""
    return (input - target).square()


def counted(prediction, truth):
    """The share of values that are off by more than 0.1: its gradient is zero."""
    return ((prediction - truth).abs() > 0.1).float().mean((1, 2, 3))


def from_numpy(prediction, truth):
    """The mean absolute error, in numpy."""
    return np.abs(prediction.numpy() - truth.numpy()).mean(axis=(1, 2, 3))


counted.home_of = from_numpy.home_of = ["mae"]
