"""Attention within hashed buckets in every stage, of which there are 2 N / chunk."""

_base_ = ["../_base_/models/linear_attention_zoo_s12.py"]

model = dict(
    network=dict(
        backbone=dict(
            token_mixer=[dict(type="ReformerMixer", buckets=number, chunk=64) for number in (98, 24, 6, 2)],
        ),
    ),
)
