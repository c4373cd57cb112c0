"""DuoFormer on a ResNet-18 with 6 blocks of width 384, two scales: the authors' light model."""

_base_ = ["../_base_/models/duoformer.py"]

model = dict(network=dict(backbone=dict(cnn=dict(depth=18), variant="light")))
