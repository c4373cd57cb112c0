"""VMamba-T (s2l5): 30.7 M parameters (ImageNet top-1 82.5 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="tiny_s2l5", out_indices=(3,), out_norms=False),
    ),
)
