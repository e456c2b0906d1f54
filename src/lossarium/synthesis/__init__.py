"""Render synthetic identities from CC0 data. The exact swap of a frame is the other identity in the same
state.

Needs the extra `synthetic`. Data flows one way: `identities` describes who is rendered and `states` in which
pose, expression and light; `shape` and `painting` make a head, which `baking` stores; `rendering` turns a
baked identity and a state into a frame; `writing` writes facesets.
"""
