"""kMaX-DeepLab over ConvNeXt-B, COCO panoptic (published PQ 57.2)."""

_base_ = ["kmax_convnext_tiny_coco.py"]

model = dict(backbone=dict(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024), drop_path=0.5))
