"""Width 512, six layers of 8 heads over patches of 16 pixels; ours, the paper has no pictures."""

_base_ = ["../_base_/models/wide_transformer.py"]

model = dict(network=dict(backbone=dict(depth=6, heads=8, hidden=2048)))
