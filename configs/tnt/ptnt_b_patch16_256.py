"""PyramidTNT-B as published for ImageNet (top-1 84.1)."""

_base_ = ["../_base_/models/pyramid_tnt.py"]

model = dict(network=dict(backbone=dict(variant="b")))
