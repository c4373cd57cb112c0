"""FMViT-style, tiny: a size of this project, not of the paper, whose code is not public."""

_base_ = ["../_base_/models/fmvit.py"]
