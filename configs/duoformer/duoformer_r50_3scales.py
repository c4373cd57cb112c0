"""DuoFormer on a ResNet-50, three scales, learned scale token."""

_base_ = ["../_base_/models/duoformer.py"]

model = dict(network=dict(backbone=dict(scales=3)))
