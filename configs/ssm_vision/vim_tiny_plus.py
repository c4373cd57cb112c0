"""Vim-T+, with patches of stride 8: 7.3 M parameters (ImageNet top-1 78.3 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(network=dict(type="VimClassifier", backbone=dict(type="VisionMamba", variant="tiny_plus")))
