"""kMaX-DeepLab over ResNet-50, COCO panoptic (published PQ 53.3)."""

_base_ = ["../_base_/models/kmax_r50.py", "../_base_/schedules/kmax.py"]

image_size = (1281, 1281)
