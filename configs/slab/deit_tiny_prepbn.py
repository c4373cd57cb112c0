"""DeiT-T with norms that fold (ImageNet top-1 73.6 % as published)."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        type="ClassTokenClassifier", norm=_base_.rep_norm,
        backbone=dict(type="SlabDeiT", variant="tiny", linear=False, norm=_base_.rep_norm),
    ),
)
