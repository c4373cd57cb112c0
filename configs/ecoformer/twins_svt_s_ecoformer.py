"""Twins-SVT-S with EcoFormer's attention (ImageNet top-1 80.22 % as published)."""

_base_ = ["../_base_/models/ecoformer_twins.py"]
