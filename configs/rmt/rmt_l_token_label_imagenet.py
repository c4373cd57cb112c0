"""RMT-L learnt from token labels (RMT-L*): 96.1 M parameters, ImageNet-1k top-1 86.1 as published."""

_base_ = ["rmt_l_imagenet.py"]

model = dict(network=dict(type="RMTTokenLabelClassifier"))
