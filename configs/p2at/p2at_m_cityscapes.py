"""P2AT-M for Cityscapes (mIoU 78.7 as published)."""

_base_ = ["p2at_s_cityscapes.py"]

model = dict(backbone=dict(depth=34))
