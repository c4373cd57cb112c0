"""The synthetic city's FlatFormer with average pooling in its groups (not published).

    python tools/train.py configs/flatformer/flatformer_synthetic_pooling.py
"""

_base_ = ["flatformer_synthetic.py"]

plugins = ["flatformer", "poolformer"]

model = dict(lidar_backbone=dict(mixer=dict(type="PoolingMixer")))
