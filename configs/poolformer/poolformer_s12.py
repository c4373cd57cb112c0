"""PoolFormer-S12 (ImageNet top-1 77.2 % as published)."""

_base_ = ["../_base_/models/poolformer.py"]
