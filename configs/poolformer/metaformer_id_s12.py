"""The skeleton of PoolFormer-S12 in which no token is mixed with another."""

_base_ = ["../_base_/models/metaformer_s12.py"]

model = dict(
    network=dict(norm="group", backbone=dict(token_mixer=dict(_delete_=True, type="IdentityMixer"), norm="group")),
)
