"""The paper's second stage: the generator learns from what the detector finds; ``load_from`` names the first stage."""

_base_ = ["vectormapnet_camera_nuscenes.py"]

model = dict(head=dict(joint=True, repeated=0.2))
