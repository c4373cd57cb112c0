"""kMaX-DeepLab over ResNet-50 as published for Cityscapes on real pictures of Waymo's cameras, at their own size.

    python tools/test.py configs/waymo_pictures/kmax_r50_cityscapes.py CHECKPOINT --cfg-options waymo_root=FOLDER
"""

_base_ = ["../kmax/kmax_r50_cityscapes.py", "../_base_/datasets/waymo_pictures.py"]

test_dataloader = dict(_delete_=True, **_base_.waymo_as_cityscapes)
test_evaluator = _base_.waymo_panoptic
