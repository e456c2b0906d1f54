"""The tasks that a model is judged on, with held-out frames."""

RECONSTRUCTION = "reconstruction"
"""A frame through its own identity's decoder, against the frame."""

SWAP = "swap"
"""A frame through the other identity's decoder, against that identity's frame in the same state."""
