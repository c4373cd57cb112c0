"""Width 512, one layer with the 48 heads of six and one perceptron; ours, the paper has no pictures."""

_base_ = ["../_base_/models/wide_transformer.py"]

model = dict(network=dict(backbone=dict(depth=1, heads=48, hidden=2048)))
