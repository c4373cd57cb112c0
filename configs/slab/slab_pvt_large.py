"""SLAB-PVT-L; the authors name no score. They name no drop path either: this is that of M."""

_base_ = ["./slab_pvt_tiny.py"]

model = dict(network=dict(backbone=dict(variant="large", drop_path=0.3)))
