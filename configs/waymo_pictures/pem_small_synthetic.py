"""The small PEM of the synthetic city on Waymo's real pictures, in sizes at which things look as large.

    python tools/test.py configs/waymo_pictures/pem_small_synthetic.py CHECKPOINT --cfg-options waymo_root=FOLDER

See p2at_s_synthetic.py for the size: enlarged, the city's pictures have a focal length of 395 pixels, Waymo's at a
width of 370.
"""

_base_ = ["../pem/pem_small_synthetic.py", "../_base_/datasets/waymo_pictures.py"]

model = dict(data_preprocessor=dict(fit=(247, 370)))
test_dataloader = dict(_delete_=True, **_base_.waymo_as_nuscenes)
test_evaluator = _base_.waymo_panoptic
