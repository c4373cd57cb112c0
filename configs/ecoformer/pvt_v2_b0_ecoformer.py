"""PVTv2-B0 with EcoFormer's attention (ImageNet top-1 70.44 % as published)."""

_base_ = ["../_base_/models/ecoformer_pvt_v2.py"]
