"""RMT-L for pictures of 224 x 224 pixels: 95.5 M parameters, ImageNet-1k top-1 85.5 as published."""

_base_ = ["../_base_/models/rmt.py"]

model = dict(network=dict(backbone=dict(variant="l")))
