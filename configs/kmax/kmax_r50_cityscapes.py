"""kMaX-DeepLab over ResNet-50 and its stem, Cityscapes panoptic (published PQ 63.5, AP 38.6, mIoU 79.5)."""

_base_ = ["../_base_/models/kmax_r50.py", "../_base_/datasets/cityscapes_panoptic.py", "../_base_/schedules/kmax.py"]

image_size = (1025, 2049)

model = dict(
    data_preprocessor=dict(fit=image_size, pad_size=image_size),
    classes=_base_.class_names,
    things=_base_.things,
    backbone=dict(stem_map=True),
    head=dict(
        num_classes=19,
        things=_base_.things,
        num_queries=256,
        pixel_decoder=dict(
            layers=(1, 5, 1, 1, 1), channels=(512, 256, 128, 64, 32),
            layer_types=("axial", "axial", "bottleneck", "bottleneck", "bottleneck"),
        ),
        semantic_branch="light",
        map_order=(4, 3, 2, 0, 1),                   # the stem before the first stage, as the released weights have it
        loss=dict(pixels=dict(temperature=0.6), semantic=dict(count=0, temperature=1.0)),
        panoptic=dict(thing=0.5, stuff=0.3, overlap=0.9, mask_power=0.0),
    ),
)

train_pictures = dict(type="CityscapesDataset", root=_base_.data_root, split="train", labels="instances")
colours = dict(type="PhotometricDistortion", swap_channels=False)
flip = dict(type="RandomFlip", prob_x=0.0)
crop = dict(type="RandomCropImages", size=image_size, fill=128)        # 127.5 is the mean: padding is all but zero
train_dataloader = dict(
    batch_size=1,                                    # of each of 32 processes
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
train_cfg = dict(max_iters=60000)
optim_wrapper = dict(optimizer=dict(lr=3e-4))        # for 32 images a batch
