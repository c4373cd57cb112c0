"""Activator of gating units alone for 32 x 32 pixels: a bag of patches; no score is told of it."""

_base_ = ["./activator_cifar10.py"]

model = dict(network=dict(backbone=dict(ffn=False)))
