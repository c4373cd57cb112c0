"""RMT-B for pictures of 224 x 224 pixels: 54.2 M parameters, ImageNet-1k top-1 85.0 as published."""

_base_ = ["../_base_/models/rmt.py"]

model = dict(network=dict(backbone=dict(variant="b")))
