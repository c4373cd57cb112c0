"""VMamba-T (s1l8, the default): 30.2 M parameters (ImageNet top-1 82.6 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="tiny_s1l8", out_indices=(3,), out_norms=False),
    ),
)
