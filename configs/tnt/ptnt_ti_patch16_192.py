"""PyramidTNT-Ti as published for ImageNet (top-1 75.2)."""

_base_ = ["../_base_/models/pyramid_tnt.py"]

model = dict(network=dict(backbone=dict(variant="ti", img_size=192)))
