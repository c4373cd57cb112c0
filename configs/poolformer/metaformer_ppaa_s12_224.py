"""Pooling in two stages, attention in the last two."""

_base_ = ["../_base_/models/metaformer_s12.py"]

model = dict(
    network=dict(
        backbone=dict(
            token_mixer=[_base_.pooling, _base_.pooling, _base_.attention, _base_.attention],
            positions=[None, None, (14, 14), (7, 7)],
        ),
    ),
)
