"""PEM as published for the 19 classes of Cityscapes (mIoU 79.9)."""

_base_ = ["../_base_/models/pem.py", "../_base_/datasets/cityscapes.py", "../_base_/schedules/pem_90k.py"]

model = dict(classes=_base_.class_names, things=(), head=dict(num_classes=19))
train_dataloader = dict(
    batch_size=4,                                    # of each of 8 processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=(0.5, 2.0), steps=16, short_side=1024, long_limit=4096),
            dict(type="RandomCropImages", size=(512, 1024), fill=128),
            dict(type="PhotometricDistortion", swap_channels=False),
            dict(type="RandomFlip", prob_x=0.0),
        ],
    ),
)
