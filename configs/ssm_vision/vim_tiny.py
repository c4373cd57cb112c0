"""Vim-T: 7.1 M parameters (ImageNet top-1 76.1 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(network=dict(type="VimClassifier", backbone=dict(type="VisionMamba", variant="tiny")))
