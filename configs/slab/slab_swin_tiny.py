"""SLAB-Swin-T (ImageNet top-1 81.8 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        norm=_base_.norm_swin,
        backbone=dict(type="SlabSwin", variant="tiny", drop_path=0.2, norm=_base_.norm_swin),
    ),
)
