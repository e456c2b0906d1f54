"""Losses that register themselves when their file is imported; only the fixture `registered` imports it."""

from lossarium import losses
from tests.losses.own_losses import Power


@losses.register(name="pinned", good_at="telling apart")
def difference(input, target):
    return (input - target).abs().mean(dim=(1, 2, 3))


@losses.register(name="pinned_class", good_at="being a class")
class Registered(Power):
    pass
