"""Attention by random ReLU features in every stage."""

_base_ = ["../_base_/models/linear_attention_zoo_s12.py"]

model = dict(
    network=dict(backbone=dict(token_mixer=dict(_delete_=True, type="PerformerMixer", kind="relu"))),
)
