"""TokenFormer-L/16 as an ImageNet classifier, with as many rows for its width as B/16; our reading."""

_base_ = ["./tokenformer_base_patch16.py"]

model = dict(network=dict(backbone=dict(variant="large", drop_path=0.2)))
