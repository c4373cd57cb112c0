"""VMamba-B of the first release: 76.3 M parameters (ImageNet top-1 83.7 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="vanilla_base", out_indices=(3,), out_norms=False),
    ),
)
