"""VMamba-T of the first release: 22.9 M parameters (ImageNet top-1 82.2 % as published)."""

_base_ = ["../_base_/models/ssm_vision.py"]

model = dict(
    network=dict(
        type="BackboneClassifier", norm="layer",
        backbone=dict(type="VMambaBackbone", variant="vanilla_tiny", out_indices=(3,), out_norms=False),
    ),
)
