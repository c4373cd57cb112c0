"""SLAB-DeiT-S (ImageNet top-1 80.0 % as published)."""

_base_ = ["./slab_deit_tiny.py"]

model = dict(network=dict(backbone=dict(variant="small")))
