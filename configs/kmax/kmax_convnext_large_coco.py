"""kMaX-DeepLab over ConvNeXt-L, COCO panoptic (published PQ 57.9)."""

_base_ = ["kmax_convnext_tiny_coco.py"]

model = dict(backbone=dict(depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536), drop_path=0.6))
