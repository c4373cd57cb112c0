"""A FlatFormer of a few thousand parameters for tests, without data: inherit from it and add the loaders."""

_base_ = ["../_base_/classes/nuscenes_detection.py", "../_base_/default_runtime.py"]

plugins = ["flatformer"]
max_iters = 10
point_range = (-25.6, -25.6, -5.0, 25.6, 25.6, 3.0)
voxel_size = (0.8, 0.8, 8.0)
grid = (64, 64)

model = dict(
    type="Detector",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity")),
    voxel_encoder=dict(
        type="DynamicVFE", in_channels=4, channels=(8,), voxel_size=voxel_size, point_range=point_range
    ),
    lidar_backbone=dict(
        type="FlatFormer", channels=8, grid=grid, window=(5, 5), group_size=16, num_blocks=1, num_heads=2
    ),
    bev_backbone=dict(type="SECOND", in_channels=8, channels=(8, 8), layers=(0, 0), strides=(1, 2), residual=True),
    neck=dict(type="SECONDFPN", in_channels=(8, 8), channels=(8, 8), upsample=(1, 2)),
    head=dict(
        type="CenterHead",
        in_channels=16,
        tasks=[_base_.class_names],
        common_heads=dict(reg=(2, 1), height=(1, 1), dim=(3, 1), rot=(2, 1), vel=(2, 1)),
        shared_channels=8,
        head_channels=8,
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, max_num=100, score_threshold=0.05
        ),
        nms=dict(type="RotateNMS", threshold=0.2, pre_max=100, post_max=50, score_threshold=0.05),
        loss_box=dict(type="L1BoxLoss", loss_weight=0.25, code_weights=(1.0,) * 8 + (0.2, 0.2)),
        max_objects=100,
        min_radius=1,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=35, norm_type=2),
)
