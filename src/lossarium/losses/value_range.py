"""Warns once if pictures seem to be in another range than [0, 1]."""

import sys
import time
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

# A check takes some microseconds: the first calls are checked, and later only one call per this many seconds.
_FIRST_CALLS = 16
_SECONDS = 0.1
# A check of pictures on a GPU waits for it, so only the first calls are checked there.
_FIRST_CALLS_ON_GPU = 4
# A check reads about this many pixels along each side of the first picture.
_SIDE = 32


class RangeWarning(UserWarning):
    """Pictures look as if they were in [0, 255] or [-1, 1], where losses expect [0, 1]. Once a process."""


@dataclass
class _Watch:
    calls: int = 0
    last_look: float = 0.0
    warned: bool = False


_WATCH = _Watch()


def warn_of_other_range(target: Tensor) -> None:
    """Warn, once in a process, if the target looks like bytes in [0, 255] or is centred in [-1, 1].

    Only targets are checked, since a prediction may have any values, and only a sample of pixels in some
    calls. Under compilers, tracers and transformations nothing is checked.
    """
    if _WATCH.warned or torch.compiler.is_compiling():
        return
    _WATCH.calls += 1
    now = time.monotonic()
    if _WATCH.calls > _FIRST_CALLS and now < _WATCH.last_look + _SECONDS:
        return
    _WATCH.last_look = now
    if type(target) is not Tensor or not _can_be_read(target):
        return
    height, width = target.shape[2:]
    sample = target.detach()[0, :, :: max(height // _SIDE, 1), :: max(width // _SIDE, 1)]
    low, high = (float(end) for end in sample.aminmax())
    remedy = ""
    if low >= 0 and 16 < high <= 256 and high - low > 16:
        remedy = "divide input and target by 255"
    elif -1.001 <= low < -0.3 and high <= 1.001 and float((sample < 0).float().mean()) > 0.1:
        remedy = "give (x + 1) / 2 of input and target"
    if remedy:
        _WATCH.warned = True
        warnings.warn(
            f"the target has values from {low:.3g} to {high:.3g}, and losses expect [0, 1] from black to "
            f"white: {remedy}",
            RangeWarning,
            stacklevel=_levels_to_user(),
        )


def _can_be_read(target: Tensor) -> bool:
    if torch._C._get_tracing_state() is not None or torch._C._are_functorch_transforms_active():
        return False
    if target.is_cpu:
        return True
    if _WATCH.calls > _FIRST_CALLS_ON_GPU or target.is_meta:
        return False
    return not (target.is_cuda and torch.cuda.is_current_stream_capturing())


def _levels_to_user() -> int:
    """The number of stack frames between the caller and code outside Lossarium and torch."""
    levels, frame = 1, sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).split(".")[0] in ("lossarium", "torch"):
        if frame.f_back is None:
            break
        levels, frame = levels + 1, frame.f_back
    return levels
