"""PVT-M with progressive norms (ImageNet top-1 81.7 % as published)."""

_base_ = ["./pvt_tiny_prepbn.py"]

model = dict(network=dict(backbone=dict(variant="medium", drop_path=0.3)))
