"""RMT-S learnt from token labels (RMT-S*): 27.5 M parameters, ImageNet-1k top-1 84.8 as published.

The released weights have the second head on the projected tokens: ``model.network.projected_tokens=True``, 28.0 M.
"""

_base_ = ["rmt_s_imagenet.py"]

model = dict(network=dict(type="RMTTokenLabelClassifier"))
