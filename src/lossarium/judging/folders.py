"""Scores of folders of pictures, made by anything, against one folder of references."""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lossarium.errors import LossariumError
from lossarium.facesets.listing import Packed
from lossarium.facesets.reading import UnreadablePicture
from lossarium.facesets.remarks import Remark
from lossarium.facesets.whole_pictures import WholePicture, read_whole_picture
from lossarium.judging.declaration import Judge
from lossarium.judging.held_out import as_tensor
from lossarium.judging.measuring import notes_on_reading, reason_of_failure
from lossarium.judging.pairs import Pair
from lossarium.losses.perceptual.lpips import keeping_features
from lossarium.models.randomness import seeded
from lossarium.text.wording import counted, listed, printable_name

Pixels = npt.NDArray[np.uint8]

_MOST_THREADS = 8
_MOST_READ_AHEAD = 32
_BYTES_READ_AHEAD = 256 << 20
_BYTES_AT_ONCE = 12 << 20
"""Of a batch of references as float32."""


@dataclass(frozen=True)
class FolderScores:
    """The scores of several folders against the same references."""

    pictures: tuple[str, ...]
    """The names of the pictures that were judged, in order."""
    places: tuple[int, ...]
    """Their places among the pairs."""
    values: dict[str, npt.NDArray[np.float64]]
    """Judge -> (folders, pictures)."""
    digests: tuple[bytes, ...]
    """A hash of each folder's pixels."""
    equals_references: tuple[bool, ...]
    """Whether each folder equals the references pixel by pixel."""
    notes: tuple[str, ...]
    """Remarks on how pictures were read, a sentence each."""


@dataclass(frozen=True)
class _Read:
    """A reference with the pictures of all folders."""

    place: int
    reference: Pixels
    tests: tuple[Pixels, ...]
    mask: Pixels | None
    remarks: Counter[Remark]

    @property
    def kind(self) -> tuple[object, ...]:
        """What pictures of one batch have in common."""
        return self.reference.shape, self.mask is None


def score_folders(
    of_folder: Sequence[Sequence[Pair]],
    judges: Sequence[Judge],
    *,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FolderScores:
    """Score the pictures of several folders against their references.

    A reference is read once for all folders, in threads and ahead of the judges. Memory does not grow with
    the number of pictures.

    Args:
        of_folder: The pairs of each folder, with the same references in the same order.
        judges: Who scores.
        skip_bad: Whether a picture that cannot be read in some folder is left out of all.
        progress: Called with the numbers of references done and of all.

    Raises:
        LossariumError: pictures cannot be read (all of them are named), sizes differ, or a judge fails.
    """
    found = _Found(
        [[] for _ in range(1 + len(of_folder))], {judge.name: [[] for _ in of_folder] for judge in judges}
    )
    total = len(of_folder[0])
    with _reading(of_folder) as reads:
        readable = _without_failures(reads, found, total, progress)
        # Once a picture cannot be read, nothing is judged; the rest is read to name all such pictures.
        judged = (one for one in readable if skip_bad or not found.failures)
        for _, alike in groupby(judged, key=lambda one: one.kind):
            for batch in _batches(alike):
                _judge(batch, of_folder, judges, found)
    if found.failures and not skip_bad:
        _refuse(found.failures)
    if not found.places:
        raise LossariumError("no picture is left to judge, for none can be read in every folder")
    left_out = [f"{_failures(found.failures)}; left out of every folder."] if found.failures else []
    return FolderScores(
        pictures=tuple(of_folder[0][place].name for place in found.places),
        places=tuple(found.places),
        values={name: np.array(values, dtype=np.float64) for name, values in found.values.items()},
        digests=tuple(_digest(digests) for digests in found.digests[1:]),
        equals_references=tuple(digests == found.digests[0] for digests in found.digests[1:]),
        notes=(*left_out, *notes_on_reading(found.remarks)),
    )


@dataclass
class _Found:
    """What is known so far."""

    digests: list[list[bytes]]
    """Of the references' pictures, then of each folder's."""
    values: dict[str, list[list[float]]]
    places: list[int] = field(default_factory=list)
    remarks: Counter[Remark] = field(default_factory=Counter)
    failures: dict[Path, UnreadablePicture] = field(default_factory=dict)


@contextmanager
def _reading(
    of_folder: Sequence[Sequence[Pair]],
) -> Iterator[Iterator["_Read | list[UnreadablePicture]"]]:
    """Reads in threads, in order, so far ahead as memory allows."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lossarium-pictures")
    try:
        yield _in_order(pool, of_folder)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, of_folder: Sequence[Sequence[Pair]]
) -> Iterator["_Read | list[UnreadablePicture]"]:
    ahead = 1
    waiting: deque[Future[_Read | list[UnreadablePicture]]] = deque()
    for place, pairs in enumerate(zip(*of_folder, strict=True)):
        waiting.append(pool.submit(_read, place, pairs))
        while len(waiting) > ahead:
            one = waiting.popleft().result()
            if isinstance(one, _Read):
                size = one.reference.nbytes * (1 + len(one.tests))
                ahead = max(1, min(_MOST_READ_AHEAD, _BYTES_READ_AHEAD // size))
            yield one
    while waiting:
        yield waiting.popleft().result()


def _read(place: int, pairs: Sequence[Pair]) -> "_Read | list[UnreadablePicture]":
    """One reference with its partners, or all that cannot be read of them."""
    first = pairs[0]
    reference, *tests = (
        _picture_or_failure(path, packed)
        for path, packed in (
            (first.reference, first.packed_reference),
            *((pair.test, pair.packed_test) for pair in pairs),
        )
    )
    mask = None
    failures = [one for one in (reference, *tests) if isinstance(one, UnreadablePicture)]
    try:
        mask = None if first.mask is None else first.mask.read()
    except UnreadablePicture as unreadable:
        failures.append(unreadable)
    if failures:
        return failures
    truth, *made = (one for one in (reference, *tests) if isinstance(one, WholePicture))
    for pair, test in zip(pairs, made, strict=True):
        _check_size(pair.test, test.pixels, first.reference, truth.pixels)
    if first.mask is not None and mask is not None:
        _check_size(first.mask.path, mask, first.reference, truth.pixels)
    remarks = Counter(remark for one in (truth, *made) for remark in one.remarks)
    return _Read(place, truth.pixels, tuple(test.pixels for test in made), mask, remarks)


def _picture_or_failure(path: Path, packed: Packed | None) -> WholePicture | UnreadablePicture:
    try:
        return read_whole_picture(path, packed)
    except UnreadablePicture as unreadable:
        return unreadable


def _check_size(path: Path, pixels: Pixels, reference: Path, truth: Pixels) -> None:
    if pixels.shape[:2] != truth.shape[:2]:
        height, width = pixels.shape[:2]
        raise LossariumError(
            f"{printable_name(path)} is {width} x {height} pixels and its reference "
            f"{printable_name(reference)} is {truth.shape[1]} x {truth.shape[0]}; only pictures of one size "
            "can be judged, so scale one of them first"
        )


def _without_failures(
    reads: Iterator["_Read | list[UnreadablePicture]"],
    found: _Found,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[_Read]:
    for done, one in enumerate(reads, start=1):
        if isinstance(one, list):
            for failure in one:
                found.failures.setdefault(failure.path, failure)
        else:
            yield one
        if progress is not None:
            progress(done, total)


def _batches(reads: Iterator[_Read]) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    for one in reads:
        batch.append(one)
        if (len(batch) + 1) * one.reference.size * 4 > _BYTES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


@torch.inference_mode()
def _judge(
    batch: list[_Read], of_folder: Sequence[Sequence[Pair]], judges: Sequence[Judge], found: _Found
) -> None:
    for one in batch:
        found.places.append(one.place)
        found.remarks.update(one.remarks)
        for digests, pixels in zip(found.digests, (one.reference, *one.tests), strict=True):
            digests.append(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest())
    truth = as_tensor(np.stack([one.reference for one in batch])).contiguous()
    masks = [one.mask for one in batch if one.mask is not None]
    weight = as_tensor(np.stack(masks)[..., None]) if masks else None
    with keeping_features(truth):
        for folder, pairs in enumerate(of_folder):
            prediction = as_tensor(np.stack([one.tests[folder] for one in batch]))
            for judge in judges:
                try:
                    with seeded(prediction.device, 0):
                        values = judge.measure(prediction, truth, weight).tolist()
                except (LossariumError, MemoryError, RuntimeError) as error:
                    raise LossariumError(
                        f"{judge.name} cannot judge {printable_name(pairs[batch[0].place].test)}: "
                        f"{reason_of_failure(error)}; choose other judges with --judges"
                    ) from error
                found.values[judge.name][folder].extend(values)


def _digest(digests: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(digests), digest_size=16).digest()


def _refuse(failures: dict[Path, UnreadablePicture]) -> None:
    it = "it" if len(failures) == 1 else "them"
    raise LossariumError(
        f"{_failures(failures)}; fix {it}, or leave {it} out of every folder with --skip-bad"
    )


def _failures(failures: dict[Path, UnreadablePicture]) -> str:
    which = [f"{path.as_posix()} ({failure.reason})" for path, failure in failures.items()]
    return f"{counted(len(failures), 'picture')} cannot be read: {listed(which)}"
