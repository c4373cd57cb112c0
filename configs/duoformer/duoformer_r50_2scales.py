"""DuoFormer on a ResNet-50, two scales, learned scale token: the authors' default."""

_base_ = ["../_base_/models/duoformer.py"]
