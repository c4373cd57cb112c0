"""PVT-S with progressive norms (ImageNet top-1 80.1 % as published)."""

_base_ = ["./pvt_tiny_prepbn.py"]

model = dict(network=dict(backbone=dict(variant="small", drop_path=0.1)))
