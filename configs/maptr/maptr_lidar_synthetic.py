"""A small MapTR-style model for the synthetic city's LiDAR, made for two CPU cores."""

_base_ = [
    "../_base_/datasets/synthetic_map.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

max_iters = 3000
region = (-30.0, -15.0, 30.0, 15.0)
voxel_size = (0.3, 0.3, 6.0)

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    bev_encoder=dict(
        type="LidarBEVEncoder",
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=5, channels=(32,), voxel_size=voxel_size,
            point_range=(-30.0, -15.0, -3.0, 30.0, 15.0, 3.0), standardize=True,
        ),
        lidar_backbone=dict(type="PillarScatter", grid=(200, 100)),
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64, 96), layers=(1, 3, 3), strides=(2, 1, 2), residual=True,
        ),
        neck=dict(type="SECONDFPN", in_channels=(32, 64, 96), channels=(32, 32, 32), upsample=(1, 1, 2)),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    head=dict(
        type="PointSetMapHead", in_channels=96, region=region, channels=96, num_queries=40, num_points=20, layers=3,
        heads=8, points=8, dropout=0.0, max_elements=40,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
