"""PEM as published for the 19 classes of Cityscapes (mIoU 79.9)."""

_base_ = ["../_base_/models/pem.py", "../_base_/schedules/pem_90k.py"]

model = dict(things=(), head=dict(num_classes=19))
