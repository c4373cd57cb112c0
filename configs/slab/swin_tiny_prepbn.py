"""Swin-T with norms that fold (ImageNet top-1 81.4 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        norm=_base_.rep_norm,
        backbone=dict(type="SlabSwin", variant="tiny", attention="SSSS", drop_path=0.1, norm=_base_.rep_norm),
    ),
)
