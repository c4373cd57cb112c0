"""PEM as published for the 100 things and 50 sorts of stuff of ADE20K (PQ 38.5; things 37.0, stuff 41.1)."""

_base_ = ["../_base_/models/pem.py", "../_base_/datasets/ade20k_panoptic.py", "../_base_/schedules/pem_160k.py"]

model = dict(
    data_preprocessor=dict(short_side=(640, 2560)),
    classes=_base_.class_names,
    things=_base_.things,
    backbone=dict(norm_eval=True, norm_grad=False),
    head=dict(num_classes=150, things=_base_.things),
)
train_dataloader = dict(
    batch_size=4,                                    # of each of 8 processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=(0.5, 2.0), steps=16, short_side=640, long_limit=2560),
            dict(type="PhotometricDistortion", swap_channels=False),
            dict(type="RandomFlip", prob_x=0.0),
            dict(type="RandomCropImages", size=(640, 640), fill=128),
        ],
    ),
)
