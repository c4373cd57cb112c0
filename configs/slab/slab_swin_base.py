"""SLAB-Swin-B; the authors name no score."""

_base_ = ["./slab_swin_tiny.py"]

model = dict(network=dict(backbone=dict(variant="base", drop_path=0.5)))
