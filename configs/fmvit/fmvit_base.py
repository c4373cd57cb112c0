"""FMViT-style, base: a size of this project, not of the paper, whose code is not public."""

_base_ = ["../_base_/models/fmvit.py"]

model = dict(network=dict(backbone=dict(variant="base", drop_path=0.2)))
