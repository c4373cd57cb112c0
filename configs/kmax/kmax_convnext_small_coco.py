"""kMaX-DeepLab over ConvNeXt-S, COCO panoptic (published PQ 56.7)."""

_base_ = ["kmax_convnext_tiny_coco.py"]

model = dict(backbone=dict(depths=(3, 3, 27, 3), drop_path=0.4))
