"""A small VectorMapNet for the synthetic city's LiDAR, made for two CPU cores."""

_base_ = [
    "../_base_/datasets/synthetic_map.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["vectormapnet"]
max_iters = 1800
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
            type="SECOND", in_channels=32, channels=(32, 64, 128), layers=(1, 3, 3), strides=(2, 1, 2), residual=True,
        ),
        neck=dict(type="SECONDFPN", in_channels=(32, 64, 128), channels=(64, 64, 64), upsample=(0.5, 0.5, 1)),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    head=dict(
        type="VectorMapHead", in_channels=192, region=region, normalisation="true", bin_offset=0.5,
        # no dropout: on a CPU drawing it takes a third of a step
        detector=dict(num_queries=60, channels=128, layers=3, hidden=256, dropout=0.0),
        generator=dict(channels=128, layers=4, hidden=256, max_positions=64, dropout=0.0),
        top_k=25, max_vertices=32, nucleus=0.0,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
