"""FMViT-style, small: a size of this project, not of the paper, whose code is not public."""

_base_ = ["../_base_/models/fmvit.py"]

model = dict(network=dict(backbone=dict(variant="small", drop_path=0.15)))
