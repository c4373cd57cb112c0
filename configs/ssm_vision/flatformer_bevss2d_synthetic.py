"""The synthetic city's FlatFormer with scans of its canvas, over the cells that hold a pillar (not published)."""

_base_ = ["../flatformer/flatformer_synthetic.py"]

plugins = ["flatformer", "ssm_vision"]

model = dict(bev_mixer=dict(type="BEVSS2D", channels=32, depth=1))
