"""PVTv2-B1 with EcoFormer's attention (ImageNet top-1 78.38 % as published)."""

_base_ = ["../_base_/models/ecoformer_pvt_v2.py"]

model = dict(network=dict(backbone=dict(variant="b1")))
