"""The synthetic city's FlatFormer with selective scans of both ways in its groups (not published).

    python tools/train.py configs/flatformer/flatformer_synthetic_bimamba.py
"""

_base_ = ["flatformer_synthetic.py"]

plugins = ["flatformer", "ssm_vision"]

model = dict(lidar_backbone=dict(mixer=dict(type="BiMambaMixer")))
