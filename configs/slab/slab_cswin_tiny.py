"""SLAB-CSWin-T (ImageNet top-1 82.8 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        norm=_base_.norm_cswin,
        backbone=dict(type="SlabCSWin", variant="tiny", drop_path=0.1, norm=_base_.norm_cswin),
    ),
)
