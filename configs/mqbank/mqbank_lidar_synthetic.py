"""A small MQBank for the synthetic city's LiDAR and SD map, made for two CPU cores."""

_base_ = [
    "../_base_/datasets/synthetic_lanes.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["mqbank"]
max_iters = 600
point_range = (-51.2, -25.6, -3.0, 51.2, 25.6, 3.0)
voxel_size = (0.4, 0.4, 6.0)

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    bev_encoder=dict(
        type="LidarBEVEncoder",
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=5, channels=(32,), voxel_size=voxel_size, point_range=point_range,
            standardize=True,
        ),
        lidar_backbone=dict(type="PillarScatter", grid=(256, 128)),
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64), layers=(1, 3), strides=(2, 2), residual=True,
        ),
        neck=dict(type="SECONDFPN", in_channels=(32, 64), channels=(32, 32), upsample=(0.5, 1)),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    head=dict(
        type="LaneSegmentHead",
        decoder=dict(
            type="MQBankDecoder", channels=64, point_range=(-51.2, -25.6, -2.3, 51.2, 25.6, 1.7), num_queries=80,
            num_layers=3, max_anchors=60, dropout=0.0,
        ),
        weights=dict(mask=0.0, dice=0.0),
        double_last_refine=False,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
