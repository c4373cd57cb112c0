"""Softmax attention among all tokens in every stage: what the others are compared with."""

_base_ = ["../_base_/models/linear_attention_zoo_s12.py"]

model = dict(
    network=dict(
        backbone=dict(token_mixer=dict(_delete_=True, type="AttentionMixer", head_channels=32, qkv_bias=True)),
    ),
)
