"""P2AT-L for Cityscapes."""

_base_ = ["p2at_s_cityscapes.py"]

model = dict(backbone=dict(depth=50))
