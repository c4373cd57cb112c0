"""DAFormer's network as published for Cityscapes on real pictures of Waymo's cameras.

    python tools/test.py configs/waymo_pictures/daformer_mitb5_cityscapes.py CHECKPOINT --cfg-options waymo_root=FOLDER

It learned from halves of Cityscapes' pictures, whose focal length is 1,130 pixels; Waymo's is as long at 704 x 1056.
"""

_base_ = ["../daformer/daformer_mitb5_cityscapes.py", "../_base_/datasets/waymo_pictures.py"]

model = dict(data_preprocessor=dict(fit=(704, 1056)))
test_dataloader = dict(_delete_=True, **_base_.waymo_as_cityscapes)
test_evaluator = dict(_delete_=True, **_base_.waymo_semantic)
