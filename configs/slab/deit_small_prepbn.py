"""DeiT-S with norms that fold (ImageNet top-1 80.2 % as published)."""

_base_ = ["./deit_tiny_prepbn.py"]

model = dict(network=dict(backbone=dict(variant="small")))
