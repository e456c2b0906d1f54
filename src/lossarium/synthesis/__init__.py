"""Synthetic identities, rendered from CC0 data, whose swaps have an exact answer.

Needs the extra `synthetic`. Data flows one way: `identities` and `states` say who and how; `shape` and
`painting` make a head, which `baking` keeps; `rendering` turns a baked identity and a state into a frame;
`writing` fills folders.
"""
