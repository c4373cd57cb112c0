"""PyramidTNT-M as published for ImageNet (top-1 83.5)."""

_base_ = ["../_base_/models/pyramid_tnt.py"]

model = dict(network=dict(backbone=dict(variant="m")))
