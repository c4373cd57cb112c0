"""PoolFormer-S36 (ImageNet top-1 81.4 % as published)."""

_base_ = ["../_base_/models/poolformer.py"]

model = dict(network=dict(backbone=dict(variant="s36", drop_path=0.2)))
