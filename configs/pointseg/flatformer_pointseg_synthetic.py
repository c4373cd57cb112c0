"""Semantic and panoptic segmentation of points over a small FlatFormer, for the synthetic city and two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/pointseg/flatformer_pointseg_synthetic.py --launcher pytorch
"""

_base_ = [
    "../_base_/datasets/synthetic_points.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["flatformer"]
max_iters = 1900
point_range = (-51.2, -51.2, -3.0, 51.2, 51.2, 5.0)
region = (-51.2, -51.2, 51.2, 51.2)
grid = (256, 256)
momentum = 0.1                                     # of the normalisations: their statistics follow a short training
heights = (0.1, 0.5, 2.0)                          # kerbs are 0.15 m high

model = dict(
    type="PointSegmentor",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity")),
    bev_encoder=dict(
        type="LidarBEVEncoder",
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=4, channels=(32,), voxel_size=(0.4, 0.4, 8.0), point_range=point_range,
            standardize=True, heights=heights, momentum=momentum,
        ),
        lidar_backbone=dict(
            type="FlatFormer", channels=32, grid=grid, window=(9, 9), group_size=69, num_blocks=1, num_heads=4
        ),
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64, 96), layers=(1, 2, 2), strides=(2, 2, 2), residual=True,
            momentum=momentum,
        ),
        neck=dict(
            type="SECONDFPN", in_channels=(32, 64, 96), channels=(32, 32, 32), upsample=(1, 2, 4), momentum=momentum
        ),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    head=dict(
        type="PointHead",
        in_channels=(32, 96),
        sampling=("nearest", "bilinear"),
        region=region,
        point_channels=4,
        classes=_base_.class_names,
        things=_base_.class_names[:10],
        channels=64,
        momentum=momentum,
        heights=heights,
        # (median share / share) ** 0.4 of the training scenes' points
        class_weights=(1.5, 3.4, 0.7, 1.0, 1.2, 2.6, 2.1, 3.6, 1.0, 0.9, 0.35, 2.9, 0.8, 1.0, 0.5, 0.9),
        loss_lovasz=dict(type="LovaszSoftmaxLoss"),
        loss_weights=dict(offset=0.2),
    ),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
