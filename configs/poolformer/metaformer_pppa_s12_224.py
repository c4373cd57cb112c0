"""Pooling in three stages, attention in the last."""

_base_ = ["../_base_/models/metaformer_s12.py"]

model = dict(
    network=dict(
        backbone=dict(
            token_mixer=[_base_.pooling, _base_.pooling, _base_.pooling, _base_.attention],
            positions=[None, None, None, (7, 7)],
        ),
    ),
)
