"""SLAB-PVT-M; the authors name no score."""

_base_ = ["./slab_pvt_tiny.py"]

model = dict(network=dict(backbone=dict(variant="medium", drop_path=0.3)))
