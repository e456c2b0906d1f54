"""The base class of all losses' modules."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from lossarium.losses.reduction import Reduction


class LossModule(nn.Module):
    """A loss with its options, called as `loss(input, target, weight=None)`; see the function of the loss."""

    def __init__(self, reduction: Reduction) -> None:
        super().__init__()
        self.reduction = reduction

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor: ...

    def extra_repr(self) -> str:
        public = {key: value for key, value in vars(self).items() if key[0] != "_" and key != "training"}
        reduction = public.pop("reduction")
        if reduction != "mean":
            public["reduction"] = reduction
        return ", ".join(f"{key}={value!r}" for key, value in public.items())
