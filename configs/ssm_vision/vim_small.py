"""Vim-S: 25.8 M parameters (ImageNet top-1 80.5 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(network=dict(type="VimClassifier", backbone=dict(type="VisionMamba", variant="small", drop_path=0.05)))
