"""VMamba-S (s1l20): 49.0 M parameters (ImageNet top-1 83.3 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="small_s1l20", out_indices=(3,), out_norms=False),
    ),
)
