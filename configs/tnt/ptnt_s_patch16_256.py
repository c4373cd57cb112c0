"""PyramidTNT-S as published for ImageNet (top-1 82.0)."""

_base_ = ["../_base_/models/pyramid_tnt.py"]

model = dict(network=dict(backbone=dict(variant="s")))
