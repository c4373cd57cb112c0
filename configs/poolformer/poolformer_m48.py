"""PoolFormer-M48 (ImageNet top-1 82.5 % as published)."""

_base_ = ["../_base_/models/poolformer.py"]

model = dict(network=dict(backbone=dict(variant="m48", drop_path=0.4)))
