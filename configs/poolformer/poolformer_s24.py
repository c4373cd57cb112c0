"""PoolFormer-S24 (ImageNet top-1 80.3 % as published)."""

_base_ = ["../_base_/models/poolformer.py"]

model = dict(network=dict(backbone=dict(variant="s24", drop_path=0.1)))
