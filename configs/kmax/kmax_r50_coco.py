"""kMaX-DeepLab over ResNet-50, COCO panoptic (published PQ 53.3)."""

_base_ = ["../_base_/models/kmax_r50.py", "../_base_/datasets/coco_panoptic.py", "../_base_/schedules/kmax.py"]

image_size = (1281, 1281)

model = dict(
    data_preprocessor=dict(fit=image_size, pad_size=image_size),
    classes=_base_.class_names,
    things=_base_.things,
    head=dict(things=_base_.things),
)

train_pictures = dict(type="CocoPanopticDataset", root=_base_.data_root, split="train2017", names=_base_.class_names)
colours = dict(type="PhotometricDistortion", swap_channels=False)
flip = dict(type="RandomFlip", prob_x=0.0)
crop = dict(type="RandomCropImages", size=image_size, fill=128)        # 127.5 is the mean: padding is all but zero
train_dataloader = dict(
    batch_size=2,                                  # of each of 32 processes
    dataset=dict(
        _delete_=True,
        type="RedrawnPictures",
        min_pixels=4096,
        stride=4,
        dataset=dict(
            **train_pictures,
            transforms=[
                dict(type="LoadImages"), dict(type="RandomResizeImages", scales=(0.2, 2.0), size=image_size),
                colours, flip, crop,
                dict(
                    type="PanopticCopyPaste",
                    dataset=dict(
                        **train_pictures,
                        transforms=[
                            dict(type="LoadImages"),
                            dict(type="RandomResizeImages", scales=(0.1, 1.0), size=image_size),
                            colours, flip, crop,
                        ],
                    ),
                ),
            ],
        ),
    ),
)
