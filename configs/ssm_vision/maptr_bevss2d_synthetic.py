"""The synthetic city's LiDAR map model with scans of the decoder's memory (not published)."""

_base_ = ["../maptr/maptr_lidar_synthetic.py"]

plugins = ["ssm_vision"]

model = dict(head=dict(memory_mixer=dict(type="BEVSS2DMixer", depth=1)))
