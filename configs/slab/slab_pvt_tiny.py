"""SLAB-PVT-T (ImageNet top-1 76.5 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        backbone=dict(type="SlabPVT", variant="tiny", attention="LLLL", norm=_base_.norm_pvt),
    ),
)
