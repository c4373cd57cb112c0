"""A small pillar CenterPoint for the synthetic city, the baseline beside `flatformer_synthetic.py`."""

_base_ = ["../_base_/datasets/synthetic.py", "../_base_/default_runtime.py"]

plugins = ["centerpoint_pillar"]
max_iters = 600
point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
voxel_size = (0.4, 0.4, 8.0)
grid = (256, 256)

model = dict(
    type="Detector",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    voxel_encoder=dict(
        type="HardPillar", in_channels=5, channels=(64,), voxel_size=voxel_size, point_range=point_range,
        max_points=20, max_voxels=(12000, 20000),
    ),
    lidar_backbone=dict(type="PillarScatter", grid=grid),
    bev_backbone=dict(type="SECOND", in_channels=64, channels=(32, 64), layers=(2, 3), strides=(2, 2)),
    neck=dict(type="SECONDFPN", in_channels=(32, 64), channels=(32, 32), upsample=(1, 2)),
    head=dict(
        type="CenterHead",
        in_channels=64,
        tasks=[_base_.class_names],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        shared_channels=32,
        head_channels=32,
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, out_size_factor=2, max_num=500,
            score_threshold=0.05, post_center_range=(-61.2, -61.2, -10, 61.2, 61.2, 10),
        ),
        # fifty of each class: the official score takes at most 500 boxes a frame
        nms=dict(
            type="RotateNMS", threshold=(0.2,) * 10, pre_max=(200,) * 10, post_max=(50,) * 10, score_threshold=0.05
        ),
        loss_box=dict(type="L1BoxLoss", loss_weight=0.5, code_weights=(1.0,) * 8 + (0.2, 0.2)),
        min_radius=1,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="AutocastOptimWrapper", dtype="auto", constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", lr=3e-4, weight_decay=0.01), clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.3, div_factor=10, by_epoch=False)]
