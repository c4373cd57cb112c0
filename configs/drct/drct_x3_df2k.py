"""DRCT x3 on DF2K, from scratch."""

_base_ = ["../_base_/models/drct.py", "../_base_/datasets/df2k_x3.py", "../_base_/schedules/drct_500k.py"]

model = dict(network=dict(scale=_base_.scale))
