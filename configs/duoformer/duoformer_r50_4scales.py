"""DuoFormer on a ResNet-50, all four scales, learned scale token: the authors' "performance" model."""

_base_ = ["../_base_/models/duoformer.py"]

model = dict(network=dict(backbone=dict(scales=4)))
