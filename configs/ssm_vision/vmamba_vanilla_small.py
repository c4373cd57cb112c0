"""VMamba-S of the first release: 44.4 M parameters (ImageNet top-1 83.5 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="vanilla_small", out_indices=(3,), out_norms=False),
    ),
)
