"""DuoFormer on a ResNet-50, two scales, scale token computed from the channels of all four maps."""

_base_ = ["../_base_/models/duoformer.py"]

model = dict(network=dict(backbone=dict(scale_token="channel")))
