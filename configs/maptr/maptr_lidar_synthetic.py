"""A small MapTR-style model for the synthetic city's LiDAR, made for two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/maptr/maptr_lidar_synthetic.py --launcher pytorch
"""

_base_ = [
    "../_base_/models/small_lidar_map.py", "../_base_/datasets/synthetic_map.py",
    "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

max_iters = 3400

model = dict(
    head=dict(
        type="PointSetMapHead", in_channels=192, region=(-30.0, -15.0, 30.0, 15.0), channels=96, num_queries=40,
        num_points=20, layers=3, heads=8, points=8, dropout=0.0, max_elements=40,
    ),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=1.5e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
