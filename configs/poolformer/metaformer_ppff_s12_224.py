"""Pooling in two stages, a linear layer over the places in the last two."""

_base_ = ["../_base_/models/metaformer_s12.py"]

model = dict(
    network=dict(
        backbone=dict(
            token_mixer=[
                _base_.pooling, _base_.pooling, dict(type="SpatialLinearMixer", tokens=14 * 14),
                dict(type="SpatialLinearMixer", tokens=7 * 7),
            ],
            positions=[None, None, (14, 14), (7, 7)],
        ),
    ),
)
