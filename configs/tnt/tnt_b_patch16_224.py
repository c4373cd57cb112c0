"""TNT-B as published for ImageNet (top-1 82.9, top-5 96.3)."""

_base_ = ["../_base_/models/tnt.py"]

model = dict(network=dict(backbone=dict(variant="b")))
