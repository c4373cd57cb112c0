"""Attention to 64 mixtures of the tokens in every stage; bound to pictures of no more than 224 x 224 pixels."""

_base_ = ["../_base_/models/linear_attention_zoo_s12.py"]

model = dict(
    network=dict(
        backbone=dict(token_mixer=[dict(type="LinformerMixer", tokens=side**2) for side in (56, 28, 14, 7)]),
    ),
)
