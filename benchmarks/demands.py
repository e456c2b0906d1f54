"""The requirements on the benchmark: ratios to the fastest peer in the same run."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.implementations import OURS

Key = tuple[str, tuple[int, ...], str]
_SMALL, _LARGE = (16, 3, 128, 128), (1, 3, 1080, 1920)


@dataclass(frozen=True)
class Demand:
    text: str
    measured: str
    met: bool


def judged(results: Mapping[Key, Any]) -> list[Demand]:
    """Check every demand whose implementations all ran."""
    return [demand for make in _demands() for demand in make(results)]


Check = Callable[[Mapping[Key, Any]], Iterable[Demand]]


def _demands() -> list[Check]:
    return [
        _faster("ssim", 20),
        _faster("ms_ssim", 15),
        _faster("gmsd", 5),
        _faster("ffl", 2.5),
        _faster("flip", 3),
        *(_share_of_ssim(name, 0.09) for name in ("laplacian", "pixel_gradient")),
        *(_faster(name, 1.5) for name in ("logcosh", "charbonnier", "general")),
        *(_faster(name, 1) for name in ("mse", "mae", "huber", "smooth_l1")),
        *(_faster(f"lpips(net={net})", 1.15) for net in ("alex", "vgg")),
        *(_faster(f"lpips(net={net})", 1.6, ours="bfloat16") for net in ("alex", "vgg")),
        _per_pixel("ssim", 1.3),
        _within("ssim forward alone", "fast-ssim", 3),
        _within("ssim of luminance forward alone", "blazediff", 1),
        _memory(2),
    ]


def _ours(results: Mapping[Key, Any], benchmark: str, shape: tuple[int, ...], part: str = "") -> Any:
    names = [who for name, at, who in results if name == benchmark and at == shape and who.startswith(OURS)]
    chosen = [who for who in names if part in who] if part else names[:1]
    return results[benchmark, shape, chosen[0]] if chosen else None


def _peer(results: Mapping[Key, Any], benchmark: str, shape: tuple[int, ...], part: str = "") -> Any:
    """The fastest peer."""
    peers = [
        r
        for (name, at, who), r in results.items()
        if name == benchmark and at == shape and not who.startswith(OURS) and part in who
    ]
    return min(peers, key=lambda r: r.median_ms) if peers else None


def _faster(benchmark: str, times: float, ours: str = "") -> Check:
    def judge(results: Mapping[Key, Any]) -> Iterable[Demand]:
        for shape in dict.fromkeys(at for name, at, _ in results if name == benchmark):
            mine, peer = _ours(results, benchmark, shape, ours), _peer(results, benchmark, shape)
            if mine and peer:
                ratio = peer.median_ms / mine.median_ms
                kind = f" in {ours}" if ours else ""
                yield Demand(
                    f"{benchmark}{kind} at {_text(shape)}: {times:g}x the fastest peer",
                    f"{ratio:.2f}x ({mine.median_ms:.2f} against {peer.median_ms:.2f} ms, "
                    f"{peer.implementation})",
                    ratio >= times,
                )

    return judge


def _share_of_ssim(benchmark: str, share: float) -> Check:
    def judge(results: Mapping[Key, Any]) -> Iterable[Demand]:
        for shape in dict.fromkeys(at for name, at, _ in results if name == benchmark):
            mine, peer = _ours(results, benchmark, shape), _peer(results, "ssim", shape)
            if mine and peer:
                ratio = mine.median_ms / peer.median_ms
                yield Demand(
                    f"{benchmark} at {_text(shape)}: at most {share} of the fastest SSIM peer",
                    f"{ratio:.3f} ({mine.median_ms:.2f} of {peer.median_ms:.2f} ms)",
                    ratio <= share,
                )

    return judge


def _per_pixel(benchmark: str, most: float) -> Check:
    def judge(results: Mapping[Key, Any]) -> Iterable[Demand]:
        small, large = (_ours(results, benchmark, shape) for shape in (_SMALL, _LARGE))
        if small and large:
            costs = [r.median_ms / (r.shape[0] * r.shape[2] * r.shape[3]) for r in (large, small)]
            ratio = costs[0] / costs[1]
            yield Demand(
                f"{benchmark} per pixel at {_text(_LARGE)}: at most {most}x of that at {_text(_SMALL)}",
                f"{ratio:.2f}x",
                ratio <= most,
            )

    return judge


def _within(benchmark: str, peer_name: str, most: float) -> Check:
    def judge(results: Mapping[Key, Any]) -> Iterable[Demand]:
        mine, peer = _ours(results, benchmark, _LARGE), _peer(results, benchmark, _LARGE, peer_name)
        if mine and peer:
            ratio = mine.median_ms / peer.median_ms
            yield Demand(
                f"{benchmark} at {_text(_LARGE)}: at most {most:g}x of {peer.implementation}",
                f"{ratio:.2f}x ({mine.median_ms:.2f} against {peer.median_ms:.2f} ms)",
                ratio <= most,
            )

    return judge


def _memory(most: float) -> Check:
    """Check memory at the largest size only: smaller pictures are below the allocator's granularity."""

    def judge(results: Mapping[Key, Any]) -> Iterable[Demand]:
        from lossarium import losses

        for (benchmark, shape, who), r in results.items():
            name = benchmark.split("(")[0].split(" ")[0]
            if shape != _LARGE or not who.startswith(OURS) or r.extra_pictures is None:
                continue
            if losses.info(name).family in ("pixel", "structure", "frequency"):
                yield Demand(
                    f"{benchmark}: extra memory of at most {most:g} pictures at {_text(_LARGE)}",
                    f"{r.extra_pictures:.2f}",
                    r.extra_pictures <= most,
                )

    return judge


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
