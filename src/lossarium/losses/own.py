"""Users' own losses: named `package.module:function`, or registered in code under a short name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, overload

from lossarium.errors import LossariumError
from lossarium.losses import built_in
from lossarium.losses.declaration import LossInfo
from lossarium.losses.own_loss import OwnLoss
from lossarium.losses.own_objects import own_function
from lossarium.own_code import import_own, is_own

Own = TypeVar("Own", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Registered:
    function: Callable[..., Any]
    name: str
    """`package.module:function`, by which other processes find it; only the short name if it was registered
    in a script."""
    about: dict[str, str]


# Registered losses by full name and by short name.
_FULL: dict[str, _Registered] = {}
_SHORT: dict[str, _Registered] = {}
# What was tried already, by full name, and what it was built from.
_BUILT: dict[str, tuple[Callable[..., Any], LossInfo]] = {}


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

    It is a function, or a class that is built with the options and then called, or a module or another object
    that can be called. It gets (input, target) as float tensors (N, C, H, W), and options with defaults as
    keywords. It returns one value, (), one per picture, (N,), or one per pixel, (N, 1, H, W) or (N, C, H, W).
    Lossarium applies weights and reductions, unless it has arguments `weight` or `reduction`. Returns what it
    is given. In other processes, such as those that read a trial's folder, the loss has to be
    importable: its full name is `package.module:function`.

    Args:
        function: The loss.
        name: Its short name; that of the function or class by default.
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
    short = name or str(getattr(function, "__name__", type(function).__name__))
    if short in built_in.names():
        raise LossariumError(
            f'a loss named "{short}" comes with Lossarium; give yours another: register(name="...")'
        )
    if not short.isidentifier():
        raise LossariumError(f'"{short}" cannot be the name of a loss; take letters, digits and _')
    # Other objects than functions and classes do not know under which name their module holds them.
    path = getattr(function, "__qualname__", "")
    importable = function.__module__ != "__main__" and path.isidentifier()
    full = f"{function.__module__}:{path}" if importable else short
    _FULL[full] = _SHORT[short] = _Registered(function, full, about)
    _BUILT.clear()
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


def _build(name: str, function: Callable[..., Any]) -> LossInfo:
    of, built = _BUILT.get(name, (None, None))
    if built is None or of is not function:
        built = _tried(name, function)
        _BUILT[name] = function, built
    return built


def _tried(name: str, function: Callable[..., Any]) -> LossInfo:
    known = _FULL.get(name)
    about = known.about if known is not None and known.function is function else {}
    doc = _docstring(function)
    own = OwnLoss(name, own_function(name, function), doc)
    pixel_map, not_minimised = own.tried()
    summary = (doc or f"{name.rpartition(':')[2]}, a loss of your own").split("\n\n")[0]
    return LossInfo(
        name=name,
        function=own.loss(),
        family="own",
        formula=about.get("formula", ""),
        source=about.get("source") or f"your own: {name.replace(':', '.')}",
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


def _docstring(function: Callable[..., Any]) -> str:
    """The docstring of a function, or of a class itself rather than of its base class."""
    while isinstance(function, partial):
        function = function.func
    documented = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
    return inspect.cleandoc(documented.__doc__ or "")
