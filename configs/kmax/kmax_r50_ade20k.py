"""kMaX-DeepLab over ResNet-50, ADE20K panoptic (published PQ 42.2)."""

_base_ = ["../_base_/models/kmax_r50.py", "../_base_/datasets/ade20k_panoptic.py", "../_base_/schedules/kmax.py"]

image_size = (1281, 1281)

model = dict(
    data_preprocessor=dict(fit=image_size, pad_size=image_size),
    classes=_base_.class_names,
    things=_base_.things,
    head=dict(
        num_classes=150, things=_base_.things, decoder=dict(drop_path=0.0), panoptic=dict(thing=0.4, stuff=0.4)
    ),
)

train_pictures = dict(
    type="CocoPanopticDataset", root=_base_.data_root, split="train", annotations=_base_.annotations,
    pictures="images/training", names=_base_.class_names,
)
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
                dict(type="LoadImages"), dict(type="RandomResizeImages", scales=(0.5, 2.0), size=image_size),
                colours, flip, crop,
                dict(
                    type="PanopticCopyPaste",
                    dataset=dict(
                        **train_pictures,
                        transforms=[
                            dict(type="LoadImages"),
                            dict(type="RandomResizeImages", scales=(0.25, 1.0), size=image_size),
                            colours, flip, crop,
                        ],
                    ),
                ),
            ],
        ),
    ),
)
train_cfg = dict(max_iters=100000)
