"""The models with so few channels that tests are fast."""

from lossarium.models.registry import initial_model

SMALL = {
    "lightweight": ("lightweight", {"channels": 4, "encoder_dims": 16}),
    "original": ("original", {"channels": 4, "encoder_dims": 16}),
    "dfl_h128": ("dfl_h128", {"channels": 4, "encoder_dims": 16}),
    "df": ("dfl_sae", {"ae_dims": 16, "encoder_dims": 2, "decoder_dims": 2}),
    "liae": ("dfl_sae", {"architecture": "liae", "ae_dims": 8, "encoder_dims": 2, "decoder_dims": 2}),
}


def small(which, *, size=32, identities=2, seed=0, **options):
    name, few = SMALL[which]
    return initial_model(name, size=size, identities=identities, seed=seed, options={**few, **options})
