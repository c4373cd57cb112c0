"""TNT-Ti as in the paper (top-1 73.9); no weights of it were published."""

_base_ = ["../_base_/models/tnt.py"]

model = dict(network=dict(backbone=dict(variant="ti")))
