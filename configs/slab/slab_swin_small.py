"""SLAB-Swin-S (ImageNet top-1 83.6 % as published)."""

_base_ = ["./slab_swin_tiny.py"]

model = dict(network=dict(backbone=dict(variant="small", drop_path=0.3)))
