"""TNT-S as published for ImageNet (top-1 81.5, top-5 95.7)."""

_base_ = ["../_base_/models/tnt.py"]

model = dict(network=dict(backbone=dict(variant="s")))
