"""SLAB-DeiT-T (ImageNet top-1 74.3 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        norm=_base_.norm_deit,
        backbone=dict(type="SlabDeiT", variant="tiny", norm=_base_.norm_deit),
    ),
)
