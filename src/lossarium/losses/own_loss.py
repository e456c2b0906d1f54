"""A user's own loss, called and checked like every loss."""

import inspect
from typing import Any

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossFunction
from lossarium.losses.own_objects import CONTRACT, OwnFunction
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, reduce, weighted_mean
from lossarium.own_code import in_short

# Sides of the pictures to try a loss on, in turn: losses of several scales need the larger ones.
_TRIAL_SIDES = (64, 256)
# Far above the rounding of float32, and far below what state or other random numbers change.
_REPEATED = 1e-4


class OwnLoss:
    """A user's loss with weights, reductions and checks, like every loss."""

    def __init__(self, name: str, function: OwnFunction, doc: str) -> None:
        """A loss that is not tried yet.

        Args:
            name: `package.module:name`, or a short name.
            function: How it is called.
            doc: Its docstring.
        """
        self.name, self.function, self.doc = name, function, doc
        self.pixel_map = False

    def loss(self) -> LossFunction:
        """The function, with the signature of a built-in loss."""

        def loss(
            input: Tensor,
            target: Tensor,
            *,
            weight: Tensor | None = None,
            reduction: Reduction = "mean",
            **options: Any,
        ) -> Tensor:
            input, target, weight, how = as_pictures(input, target, weight, reduction)
            with torch.autocast(input.device.type, enabled=False):
                values = self._values(input, target, weight, options, alone=how not in ("mean",))
                return values if values.ndim == 0 else reduce(values, how)

        shared = [p for p in inspect.signature(loss).parameters.values() if p.kind is not p.VAR_KEYWORD]
        signature = inspect.Signature([*shared, *self.function.options], return_annotation=Tensor)
        loss.__signature__ = signature  # type: ignore[attr-defined]
        loss.__doc__, loss.__name__ = self.doc, self.name.rpartition(":")[2]
        return loss

    def map(self, input: Tensor, target: Tensor, **options: Any) -> Tensor:
        return self._called(input, target, None, options).mean(dim=1, keepdim=True)

    def _values(
        self, input: Tensor, target: Tensor, weight: Tensor | None, options: dict[str, Any], *, alone: bool
    ) -> Tensor:
        """One value per picture, (N,); or one for the batch, (), unless each picture needs its own."""
        if "weight" not in self.function.taken and not self.pixel_map:
            input, weight = blend_to_target(input, target, weight), None
        result = self._called(input, target, weight, options)
        if result.ndim == 4:
            return weighted_mean(result, None if "weight" in self.function.taken else weight)
        if result.ndim == 1 or not alone:
            return result
        pictures = [slice(k, k + 1) for k in range(len(input))]
        weights = [None if weight is None else weight[k] for k in pictures]
        each = [
            self._called(input[k], target[k], of_one, options)
            for k, of_one in zip(pictures, weights, strict=True)
        ]
        return torch.stack(each).reshape(len(input))

    def _called(
        self, input: Tensor, target: Tensor, weight: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        keywords = dict(options)
        if "weight" in self.function.taken:
            keywords["weight"] = weight
        if "reduction" in self.function.taken:
            keywords["reduction"] = "none"
        try:
            result = self.function.call(input, target, **keywords)
        except (LossariumError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if "memory" in str(error):
                raise
            raise LossariumError(
                f"{self.name} failed on pictures of shape {tuple(input.shape)}: {in_short(error)}; {CONTRACT}"
            ) from error
        if not isinstance(result, Tensor):
            raise LossariumError(f"{self.name} returned {type(result).__name__}; {CONTRACT}")
        n, channels, height, width = input.shape
        shapes = ((), (n,), (n, 1, height, width), (n, channels, height, width))
        if result.shape not in shapes or not result.is_floating_point():
            raise LossariumError(
                f"{self.name} returned a tensor of shape {tuple(result.shape)} and type {result.dtype} for "
                f"pictures of shape {tuple(input.shape)}; {CONTRACT}, of floats"
            )
        return result

    def tried(self) -> tuple[bool, str]:
        """Try it on noise: whether it gives a map, and why it cannot be minimised (empty if it can).

        Raises:
            LossariumError: it breaks the contract.
        """
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            failed: LossariumError | None = None
            for side in _TRIAL_SIDES:
                source = torch.Generator().manual_seed(0)
                target = torch.rand(2, 3, side, side, generator=source)
                input = torch.rand(2, 3, side, side, generator=source).lerp(target, 0.8).requires_grad_()
                given = target.clone()
                try:
                    torch.manual_seed(0)
                    result = self._called(input, target, None, {})
                except LossariumError as error:
                    failed = failed or error
                    continue
                if not torch.equal(target, given):
                    raise LossariumError(
                        f"{self.name} changes the target that it is given, which the other terms of a loss "
                        "are given, too; compute on a copy, as by clone()"
                    )
                why = self._why_not_minimised(result, input)
                self._check_repeats(result, input, target)
                if not why:
                    self._check_direction(result, input, target)
                self.pixel_map = result.ndim == 4
                return self.pixel_map, why
        assert failed is not None
        raise failed

    def _check_repeats(self, result: Tensor, input: Tensor, target: Tensor) -> None:
        """Refuse a loss that depends on what it was called with before: a resumed trial would differ."""
        torch.manual_seed(0)
        again = self._called(input, target, None, {})
        if again.shape != result.shape or not torch.allclose(again, result, rtol=_REPEATED, atol=_REPEATED):
            raise LossariumError(
                f"{self.name} gives another value when it is called again with the same pictures and the "
                "same random seed, so that a resumed trial would not repeat its steps: keep nothing from "
                "call to call, and draw random numbers from torch alone"
            )

    @torch.no_grad()
    def _check_direction(self, result: Tensor, input: Tensor, target: Tensor) -> None:
        """Refuse a similarity: training would make it small, and the pictures as different as they can be.

        A term that looks at the input alone, such as its total variation, has no direction.
        """
        different = float(result.mean())
        if all(
            float(self._called(picture, picture.clone(), None, {}).mean()) > different
            for picture in (input.detach().clone(), target)
        ):
            raise LossariumError(
                f"{self.name} is greater for equal pictures than for different ones, and training makes a "
                "loss small; return 1 minus a similarity, or minus it"
            )

    def _why_not_minimised(self, result: Tensor, input: Tensor) -> str:
        if not torch.isfinite(result).all():
            raise LossariumError(f"{self.name} gives NaN or infinity on ordinary pictures; {CONTRACT}")
        if not result.requires_grad:
            return "its result has no gradient by input: compute it by torch, without detach, item or numpy"
        (gradient,) = torch.autograd.grad(result.sum(), input, allow_unused=True)
        if gradient is None:
            return "its result does not depend on input"
        if not torch.isfinite(gradient).all():
            raise LossariumError(
                f"the gradient of {self.name} is NaN or infinite on ordinary pictures; {CONTRACT}"
            )
        return ""
