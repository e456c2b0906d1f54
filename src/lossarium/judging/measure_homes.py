"""Measures which built-in judges are home to which built-in losses, and writes `homes.toml`.

python -m lossarium.judging.measure_homes            # what is missing in the table; seconds
python -m lossarium.judging.measure_homes --all      # the whole table again
python -m lossarium.judging.measure_homes --states   # also train the states again; minutes
python -m lossarium.judging.measure_homes --print    # measure nothing, print the table for the docs
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from lossarium import __version__
from lossarium.facesets.folder import load
from lossarium.judging.artefacts.built_in import ARTEFACTS
from lossarium.judging.declaration import Judge
from lossarium.judging.gradient_cosines import PICTURES, SIZE, Cosine, cosines, narrow_model
from lossarium.judging.held_out import as_bytes, directions
from lossarium.judging.home import TABLE, Home, homes_of, table
from lossarium.judging.judges import JUDGES
from lossarium.losses.built_in import LOSSES
from lossarium.losses.module import Loss
from lossarium.losses.spec import parse
from lossarium.training.configuration import Recipe
from lossarium.training.trial_batches import batches_of

_PAGE = Path("docs/comparison.md")
STATES = "home_states.safetensors"
_MOMENTS = (30, 100, 300)
_TRAINED = (("mse", 0), ("ssim", 1))
"""Losses and seeds of the states: one loss that looks at pixels by themselves, one that looks at windows."""
_FRAMES = 8
_LEARNING_RATE = 1e-3
_OTHERS_WEIGHTS = ("lpips_vgg",)
"""Judges whose weights are not bundled."""
_OF_ONE_PROPERTY = ("ciede2000", "sharpness", *(artefact.name for artefact in ARTEFACTS))
"""Judges without a gradient everywhere, or of one property of pictures that no built-in loss trains on."""
SUMS = ("ssim + mae", "ssim + 0.5*mae", "0.84*ssim + 0.16*mae")
"""Sums that people use, in the table so that their comparisons begin at once."""


def losses() -> tuple[str, ...]:
    """The losses of the table: all built-in ones that can be minimised, and a few sums."""
    return (*(loss.name for loss in LOSSES if loss.objective), *SUMS)


def measurable() -> tuple[Judge, ...]:
    """The built-in judges of the table; the others are measured where they score."""
    return tuple(judge for judge in JUDGES if judge.name not in (*_OTHERS_WEIGHTS, *_OF_ONE_PROPERTY))


def missing() -> list[str]:
    """The losses of which the table lacks a judge."""
    return [loss for loss in losses() if any(one.name not in table().get(loss, {}) for one in measurable())]


def main() -> None:
    """Write the table, and the states if wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true", help="measure the whole table again")
    parser.add_argument("--states", action="store_true", help="train the states again, then measure all")
    arguments = parser.parse_args()
    here = Path(str(files("lossarium.judging")))
    if arguments.states:
        (here / STATES).write_bytes(save(_trained_states()))
    anew = arguments.all or arguments.states or not (here / TABLE).exists()
    known = {} if anew else {loss: dict(row) for loss, row in table().items()}
    wanted = losses() if anew else missing()
    measured = cosines([parse(loss) for loss in wanted], measurable()) if wanted else {}
    for loss, row in measured.items():
        known[loss] = {name: cosine for name, cosine in row.items() if cosine is not None}
    rows = [_row(loss, known[loss]) for loss in losses()]
    (here / TABLE).write_text("\n".join([_HEAD.format(version=__version__), *rows, ""]), encoding="utf-8")
    table.cache_clear()
    page = here.parents[2] / _PAGE
    if page.is_file():
        page.write_text(_with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def _with_table(page: str) -> str:
    """The page with this table instead of its own, which begins in the same way and ends at an empty line."""
    before, head, rest = page.partition("\n| loss | ")
    after = rest.partition("\n\n")[2]
    return f"{before}\n{markdown()}\n\n{after}" if head else page


def markdown() -> str:
    """The table of docs/comparison.md: the medians; those of home judges are bold."""
    homes = homes_of(losses(), measurable())
    rows = [["loss", *(judge.title for judge in measurable())], ["---"] * (len(measurable()) + 1)]
    rows += [[f"`{loss}`", *(_cell(homes[loss][one.name]) for one in measurable())] for loss in losses()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(known: Home) -> str:
    cosine = "?" if known.cosine is None else f"{known.cosine:.2f}"
    return f"**{cosine}**" if known.home else cosine


_HEAD = """\
# Cosines between the weight gradients of losses and of judges, at the states of home_states.safetensors:
# [median, lowest, highest] of six. A judge is home to a loss from a median of 0.7 on; term:0 is a sum's first
# term. Made with Lossarium {version} by: python -m lossarium.judging.measure_homes

[cosines]"""


def _row(loss: str, row: dict[str, Cosine]) -> str:
    cells = ", ".join(
        f'"{name}" = [{one.median:.2f}, {one.lowest:.2f}, {one.highest:.2f}]' for name, one in row.items()
    )
    return f'"{loss}" = {{ {cells} }}'


def _trained_states() -> dict[str, Tensor]:
    """The weights of a narrow autoencoder at moments of its training, in half precision, and frames."""
    bundled = Path(str(files("lossarium.facesets"))) / "bundled"
    facesets = (load(bundled / "ada", SIZE).faceset, load(bundled / "ben", SIZE).faceset)
    chosen = [
        direction.frames[np.linspace(0, len(direction.frames) - 1, _FRAMES).astype(np.intp)]
        for direction in directions(*facesets)
    ]
    frames = torch.stack([torch.from_numpy(as_bytes(pictures)) for pictures in chosen])
    stored = {PICTURES: frames.permute(0, 1, 4, 2, 3).contiguous()}
    for spec, seed in _TRAINED:
        batches = batches_of(seed, Recipe(size=SIZE), facesets, torch.device("cpu"))
        torch.manual_seed(seed)
        model, loss = narrow_model(), Loss(parse(spec))
        optimizer = torch.optim.Adam(model.parameters(), _LEARNING_RATE)
        for step in range(1, max(_MOMENTS) + 1):
            batch = batches(step)
            optimizer.zero_grad()
            value = loss(model(batch.input, (0, 1)).flatten(0, 1), batch.target.flatten(0, 1))
            torch.autograd.backward(value)
            optimizer.step()
            if step in _MOMENTS:
                stored |= {
                    f"{spec}-{step}/{name}": weight.half().clone()
                    for name, weight in model.state_dict().items()
                }
    return stored


if __name__ == "__main__":
    main()
