"""VMamba-B (s2l15): 88.6 M parameters (ImageNet top-1 83.9 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="base_s2l15", out_indices=(3,), out_norms=False),
    ),
)
