"""Users' own losses: named `package.module:function`, or registered in code under a short name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses import built_in
from lossarium.losses.declaration import LossFunction, LossInfo
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, reduce, weighted_mean
from lossarium.own_code import import_own, in_short, is_own

Own = TypeVar("Own", bound=Callable[..., Tensor])

_CONTRACT = (
    "a loss of your own is a function (input, target, *, options with defaults) of pictures (N, C, H, W) "
    "that returns a tensor of one value, (), one per picture, (N,), or one per pixel, (N, 1, H, W) or "
    "(N, C, H, W)"
)
# Sides of the pictures to try a loss on, in turn: losses of several scales need the larger ones.
_TRIAL_SIDES = (64, 256)
_OPTION_TYPES = (bool, int, float, str)


@dataclass(frozen=True)
class _Registered:
    function: Callable[..., Tensor]
    name: str
    """`package.module:function`, by which other processes find it; only the short name if it was registered
    in a script."""
    about: dict[str, str]


# Registered losses by full name and by short name.
_FULL: dict[str, _Registered] = {}
_SHORT: dict[str, _Registered] = {}


@overload
def register(function: Own, /) -> Own: ...


@overload
def register(
    *,
    name: str | None = None,
    formula: str = "",
    source: str = "",
    good_at: str = "",
    bad_at: str = "",
    gradient: str = "",
    artefacts: str = "",
    when: str = "",
) -> Callable[[Own], Own]: ...


def register(function: Own | None = None, /, *, name: str | None = None, **about: str) -> Any:
    """Register your own loss under a short name, with what is known about it; a decorator.

    The function gets (input, target) as float tensors (N, C, H, W), and options with defaults as keywords. It
    returns one value, (), one per picture, (N,), or one per pixel, (N, 1, H, W) or (N, C, H, W). Lossarium
    applies weights and reductions, unless the function has arguments `weight` or `reduction`. Returns the
    function itself. In other processes, such as those that read a trial's folder, the loss has to be
    importable: its full name is `package.module:function`.

    Args:
        function: The loss.
        name: Its short name; that of the function by default.
        formula: Its formula, for `lossarium explain`.
        source: Where it comes from.
        good_at: What it measures well.
        bad_at: What it measures badly.
        gradient: How its gradient behaves.
        artefacts: What training on it alone does to pictures.
        when: When to use it.

    Raises:
        LossariumError: a built-in loss has the name.

    >>> from lossarium import losses
    >>> @losses.register(good_at="outliers")
    ... def cube(input, target, *, k: float = 3.0):
    ...     return (input - target).abs() ** k
    >>> losses.get("0.5*cube(k=2)")
    Loss(0.5*cube(k=2))
    """
    if function is None:
        return lambda decorated: _register(decorated, name, about)
    return _register(function, name, about)


def _register(function: Own, name: str | None, about: dict[str, str]) -> Own:
    short = name or function.__name__
    if short in built_in.names():
        raise LossariumError(
            f'a loss named "{short}" comes with Lossarium; give yours another: register(name="...")'
        )
    if not short.isidentifier():
        raise LossariumError(f'"{short}" cannot be the name of a loss; take letters, digits and _')
    importable = function.__module__ != "__main__" and function.__qualname__.isidentifier()
    full = f"{function.__module__}:{function.__qualname__}" if importable else short
    _FULL[full] = _SHORT[short] = _Registered(function, full, about)
    _build.cache_clear()
    return function


def names() -> tuple[str, ...]:
    """The full names of all losses registered in this process."""
    return tuple(_FULL)


def find(name: str) -> LossInfo | None:
    """The declaration of a user's own loss, by its short or full name; None if the name is neither.

    Raises:
        LossariumError: its module cannot be imported, or it breaks the contract of a loss.
    """
    known = _SHORT.get(name) or _FULL.get(name)
    if known is None and is_own(name):
        function = import_own(name, "loss")
        # The import may have registered it.
        known = _FULL.get(name) or _Registered(function, name, {})
    return None if known is None else _build(known.name, known.function)


@cache
def _build(name: str, function: Callable[..., Tensor]) -> LossInfo:
    if isinstance(function, torch.nn.Module):
        raise LossariumError(
            f"{name} is a module; write a function that calls it, such as "
            f"def loss(input, target): return {name.partition(':')[2]}(input, target)"
        )
    if inspect.isclass(function):
        raise LossariumError(f"{name} is a class; {_CONTRACT}")
    known = _FULL.get(name)
    about = known.about if known is not None and known.function is function else {}
    own = _OwnLoss(name, function, *_options(name, function))
    pixel_map, not_minimised = own.tried()
    own.pixel_map = pixel_map
    summary = (inspect.getdoc(function) or f"{function.__name__}, a loss of your own").split("\n\n")[0]
    return LossInfo(
        name=name,
        function=own.loss(),
        family="own",
        formula=about.get("formula", ""),
        source=about.get("source") or f"your own: {function.__module__}.{function.__qualname__}",
        range="",
        map=own.map if pixel_map else None,
        pixel_map=pixel_map,
        not_minimised=not_minimised,
        good_at=about.get("good_at") or " ".join(summary.split()),
        bad_at=about.get("bad_at", ""),
        gradient=about.get("gradient", ""),
        artefacts=about.get("artefacts", ""),
        when=about.get("when", ""),
    )


def _options(name: str, function: Callable[..., Tensor]) -> tuple[list[inspect.Parameter], frozenset[str]]:
    """The options of a function, as keywords, and which of weight and reduction it takes itself."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise LossariumError(f"{name} has no signature that could be read; {_CONTRACT}") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        raise LossariumError(f"{name} does not take input and target; {_CONTRACT}")
    options = []
    for parameter in parameters:
        if parameter in positional[:2] or parameter.name in ("weight", "reduction"):
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise LossariumError(f'the option "{parameter.name}" of {name} has no default; {_CONTRACT}')
        # Options of other types keep their defaults: a spec cannot express them.
        if type(parameter.default) in _OPTION_TYPES and parameter.kind is not parameter.POSITIONAL_ONLY:
            options.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
    taken = frozenset(p.name for p in parameters) & {"weight", "reduction"}
    return options, taken


class _OwnLoss:
    """A user's function with weights, reductions and checks, like every loss."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Tensor],
        options: list[inspect.Parameter],
        taken: frozenset[str],
    ) -> None:
        self.name, self.function, self.options, self.taken = name, function, options, taken
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
        signature = inspect.Signature([*shared, *self.options], return_annotation=Tensor)
        loss.__signature__ = signature  # type: ignore[attr-defined]
        loss.__doc__, loss.__name__ = self.function.__doc__, self.function.__name__
        return loss

    def map(self, input: Tensor, target: Tensor, **options: Any) -> Tensor:
        return self._called(input, target, None, options).mean(dim=1, keepdim=True)

    def _values(
        self, input: Tensor, target: Tensor, weight: Tensor | None, options: dict[str, Any], *, alone: bool
    ) -> Tensor:
        """One value per picture, (N,); or one for the batch, (), unless each picture needs its own."""
        if "weight" not in self.taken and not self.pixel_map:
            input, weight = blend_to_target(input, target, weight), None
        result = self._called(input, target, weight, options)
        if result.ndim == 4:
            return weighted_mean(result, None if "weight" in self.taken else weight)
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
        if "weight" in self.taken:
            keywords["weight"] = weight
        if "reduction" in self.taken:
            keywords["reduction"] = "none"
        try:
            result = self.function(input, target, **keywords)
        except (LossariumError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if "memory" in str(error):
                raise
            raise LossariumError(
                f"{self.name} failed on pictures of shape {tuple(input.shape)}: {in_short(error)}; "
                f"{_CONTRACT}"
            ) from error
        if not isinstance(result, Tensor):
            raise LossariumError(f"{self.name} returned {type(result).__name__}; {_CONTRACT}")
        n, channels, height, width = input.shape
        shapes = ((), (n,), (n, 1, height, width), (n, channels, height, width))
        if result.shape not in shapes or not result.is_floating_point():
            raise LossariumError(
                f"{self.name} returned a tensor of shape {tuple(result.shape)} and type {result.dtype} for "
                f"pictures of shape {tuple(input.shape)}; {_CONTRACT}, of floats"
            )
        return result

    def tried(self) -> tuple[bool, str]:
        """Try it on noise: whether it gives a map, and why it cannot be minimised (empty if it can)."""
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
                if not why:
                    self._check_direction(result, input, target)
                return result.ndim == 4, why
        assert failed is not None
        raise failed

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
            raise LossariumError(f"{self.name} gives NaN or infinity on ordinary pictures; {_CONTRACT}")
        if not result.requires_grad:
            return "its result has no gradient by input: compute it by torch, without detach, item or numpy"
        (gradient,) = torch.autograd.grad(result.sum(), input, allow_unused=True)
        if gradient is None:
            return "its result does not depend on input"
        if not torch.isfinite(gradient).all():
            raise LossariumError(
                f"the gradient of {self.name} is NaN or infinite on ordinary pictures; {_CONTRACT}"
            )
        return ""
