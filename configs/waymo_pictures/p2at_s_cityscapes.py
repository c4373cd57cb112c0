"""P2AT-S as published for Cityscapes on real pictures of Waymo's cameras, at their own size.

    python tools/test.py configs/waymo_pictures/p2at_s_cityscapes.py CHECKPOINT --cfg-options waymo_root=FOLDER
"""

_base_ = ["../p2at/p2at_s_cityscapes.py", "../_base_/datasets/waymo_pictures.py"]

test_dataloader = dict(_delete_=True, **_base_.waymo_as_cityscapes)
test_evaluator = dict(_delete_=True, **_base_.waymo_semantic)
