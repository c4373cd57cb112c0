"""RMT-B learnt from token labels (RMT-B*): 54.7 M parameters, ImageNet-1k top-1 85.6 as published."""

_base_ = ["rmt_b_imagenet.py"]

model = dict(network=dict(type="RMTTokenLabelClassifier"))
