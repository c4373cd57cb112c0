"""PEM as published for the 150 classes of ADE20K (mIoU 45.5): the backbone's norms stay as ImageNet left them."""

_base_ = ["../_base_/models/pem.py", "../_base_/datasets/ade20k.py", "../_base_/schedules/pem_160k.py"]

model = dict(
    data_preprocessor=dict(short_side=(512, 2048)),
    classes=_base_.class_names,
    things=(),
    backbone=dict(norm_eval=True, norm_grad=False),
    head=dict(num_classes=150),
)
train_dataloader = dict(
    batch_size=4,                                    # of each of 8 processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=(0.5, 2.0), steps=16, short_side=512, long_limit=2048),
            dict(type="PhotometricDistortion", swap_channels=False),
            dict(type="RandomFlip", prob_x=0.0),
            dict(type="RandomCropImages", size=(512, 512), fill=128),
        ],
    ),
)
