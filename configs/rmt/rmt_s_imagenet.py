"""RMT-S for pictures of 224 x 224 pixels: 27.0 M parameters, ImageNet-1k top-1 84.1 as published."""

_base_ = ["../_base_/models/rmt.py"]

model = dict(network=dict(backbone=dict(variant="s")))
