"""PVT-T with progressive norms (ImageNet top-1 76.0 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        backbone=dict(type="SlabPVT", variant="tiny", attention="SSSS", norm=_base_.norm_pvt),
    ),
)
