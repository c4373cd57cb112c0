"""Vim-B: 97.6 M parameters (ImageNet top-1 81.9 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(network=dict(type="VimClassifier", backbone=dict(type="VisionMamba", variant="base")))
