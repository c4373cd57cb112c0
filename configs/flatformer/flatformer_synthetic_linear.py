"""The synthetic city's FlatFormer with linear attention in its groups (not published).

    python tools/train.py configs/flatformer/flatformer_synthetic_linear.py
"""

_base_ = ["flatformer_synthetic.py"]

plugins = ["flatformer", "linear_attention_zoo"]

model = dict(lidar_backbone=dict(mixer=dict(type="LinearAttentionMixer")))
