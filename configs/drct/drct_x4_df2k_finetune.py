"""DRCT x4 on DF2K, from weights of ImageNet's pictures: --cfg-options model.pretrained=FILE."""

_base_ = ["../_base_/models/drct.py", "../_base_/datasets/df2k_x4.py", "../_base_/schedules/drct_250k.py"]

model = dict(network=dict(scale=_base_.scale))
