"""P2AT-S as published for CamVid (mIoU 80.5 on its test split); trained on the training split."""

_base_ = ["../_base_/models/p2at.py", "../_base_/datasets/camvid.py", "../_base_/schedules/p2at_camvid.py"]

model = dict(
    classes=_base_.class_names,
    head=dict(criterion=dict(boundary_semantic_weight=0.4)),
)
train_dataloader = dict(
    batch_size=4,                                    # of each of two processes
    dataset=dict(
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomResizeImages", scales=(0.5, 2.1), steps=17, size=(720, 960)),
            dict(type="RandomFlip", prob_x=0.0),
            dict(type="RandomCropImages", size=(720, 960)),
        ],
    ),
)
