"""VMamba-S (s2l15): 50.1 M parameters (ImageNet top-1 83.6 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="small_s2l15", out_indices=(3,), out_norms=False),
    ),
)
