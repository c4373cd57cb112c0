"""VMamba-B (s1l20): 86.6 M parameters (ImageNet top-1 83.8 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="base_s1l20", out_indices=(3,), out_norms=False),
    ),
)
