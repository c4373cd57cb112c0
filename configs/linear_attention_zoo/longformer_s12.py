"""Attention to the tokens of two rows before and behind in every stage."""

_base_ = ["../_base_/models/linear_attention_zoo_s12.py"]

model = dict(
    network=dict(
        backbone=dict(token_mixer=[dict(type="LongformerMixer", window=2 * side) for side in (56, 28, 14, 7)]),
    ),
)
