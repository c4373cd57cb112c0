"""DuoFormer on a ResNet-50, all four scales, scale token computed from the channels of the maps."""

_base_ = ["../_base_/models/duoformer.py"]

model = dict(network=dict(backbone=dict(scales=4, scale_token="channel")))
