"""DRCT x4 on DF2K, from scratch (published PSNR of the luma on Set5: 33.11 dB)."""

_base_ = ["../_base_/models/drct.py", "../_base_/datasets/df2k_x4.py", "../_base_/schedules/drct_500k.py"]

model = dict(network=dict(scale=_base_.scale))
val_evaluator = dict(border=3)                     # published so for this config; elsewhere it is the scale
test_evaluator = val_evaluator
