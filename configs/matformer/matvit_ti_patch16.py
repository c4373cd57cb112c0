"""MatViT-Ti/16 as an ImageNet classifier of four widths; the paper shows its scores as curves."""

_base_ = ["./matvit_b_patch16.py"]

model = dict(network=dict(backbone=dict(variant="ti")))
