"""A small MQBank for the synthetic city's LiDAR and SD map, made for minutes of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/mqbank/mqbank_lidar_synthetic.py --launcher pytorch
"""

_base_ = [
    "../_base_/models/small_lidar_map.py", "../_base_/datasets/synthetic_lanes.py",
    "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["mqbank"]
max_iters = 450
point_range = (-51.2, -25.6, -3.0, 51.2, 25.6, 3.0)

model = dict(
    bev_encoder=dict(
        voxel_encoder=dict(voxel_size=(0.4, 0.4, 6.0), point_range=point_range),
        lidar_backbone=dict(grid=(256, 128)),
        neck=dict(channels=(24, 24, 24, 24)),
    ),
    head=dict(
        type="LaneSegmentHead",
        decoder=dict(
            type="MQBankDecoder", channels=96, point_range=(-51.2, -25.6, -2.3, 51.2, 25.6, 1.7), num_queries=80,
            num_layers=3, max_anchors=60, dropout=0.0,
        ),
        weights=dict(mask=0.0, dice=0.0),
        double_last_refine=False,
        denoising=dict(),                          # not in the paper; without, minutes are spent on matching
    ),
    auxiliary_head=dict(in_channels=96, region=(-51.2, -25.6, 51.2, 25.6)),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
