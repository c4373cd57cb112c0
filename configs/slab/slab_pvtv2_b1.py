"""SLAB-PVTv2-B1, of which there is code but no score."""

_base_ = ["./slab_pvtv2_b0.py"]

model = dict(network=dict(backbone=dict(variant="b1")))
