"""P2AT of the synthetic city on real pictures of Waymo's cameras, in sizes at which things look as large as it learned.

    python tools/test.py configs/waymo_pictures/p2at_s_synthetic.py CHECKPOINT --cfg-options waymo_root=FOLDER

The city's pictures have a focal length of 316 pixels; Waymo's, 2,050 pixels at a width of 1,920, have it at a width of
296.
"""

_base_ = ["../p2at/p2at_s_synthetic.py", "../_base_/datasets/waymo_pictures.py"]

model = dict(data_preprocessor=dict(fit=(198, 296)))
test_dataloader = dict(_delete_=True, **_base_.waymo_as_nuscenes)
test_evaluator = dict(_delete_=True, **_base_.waymo_semantic)
