"""PoolFormer-M36 (ImageNet top-1 82.1 % as published)."""

_base_ = ["../_base_/models/poolformer.py"]

model = dict(network=dict(backbone=dict(variant="m36", drop_path=0.3)))
