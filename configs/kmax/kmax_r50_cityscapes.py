"""kMaX-DeepLab over ResNet-50 and its stem, Cityscapes panoptic (published PQ 63.5, AP 38.6, mIoU 79.5)."""

_base_ = ["../_base_/models/kmax_r50.py", "../_base_/schedules/kmax.py"]

image_size = (1025, 2049)

model = dict(
    backbone=dict(stem_map=True),
    head=dict(
        num_classes=19,
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

train_cfg = dict(max_iters=60000)
optim_wrapper = dict(optimizer=dict(lr=3e-4))        # for 32 images a batch
