"""RMT-T for pictures of 224 x 224 pixels: 14.3 M parameters, ImageNet-1k top-1 82.4 as published."""

_base_ = ["../_base_/models/rmt.py"]

model = dict(network=dict(backbone=dict(variant="t")))
