"""A small FlatFormer for the synthetic city, made for two CPU cores: coarse cells, narrow layers, one task.

With other token mixers in its groups: flatformer_synthetic_{pooling,linear,bimamba}.py, and those of complexformer and
tokenformer.
"""

_base_ = ["../_base_/datasets/synthetic.py", "../_base_/default_runtime.py"]

plugins = ["flatformer"]
max_iters = 1400
point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
voxel_size = (0.4, 0.4, 8.0)
grid = (256, 256)

model = dict(
    type="Detector",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    voxel_encoder=dict(
        type="DynamicVFE", in_channels=5, channels=(32,), voxel_size=voxel_size, point_range=point_range,
        standardize=True,
    ),
    lidar_backbone=dict(
        type="FlatFormer", channels=32, grid=grid, window=(9, 9), group_size=69, num_blocks=1, num_heads=4
    ),
    bev_backbone=dict(type="SECOND", in_channels=32, channels=(32, 64), layers=(1, 2), strides=(2, 2), residual=True),
    neck=dict(type="SECONDFPN", in_channels=(32, 64), channels=(32, 32), upsample=(1, 2)),
    head=dict(
        type="CenterHead",
        in_channels=64,
        tasks=[_base_.class_names],
        common_heads=dict(reg=(2, 1), height=(1, 1), dim=(3, 1), rot=(2, 1), axis=(2, 1), vel=(2, 1)),
        shared_channels=32,
        head_channels=32,
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, out_size_factor=2, max_num=1000,
            score_threshold=0.03, post_center_range=(-61.2, -61.2, -10, 61.2, 61.2, 10),
        ),
        # fifty of each class: the official score takes at most 500 boxes a frame
        nms=dict(
            type="RotateNMS", threshold=(0.2,) * 10, pre_max=(300,) * 10, post_max=(50,) * 10, score_threshold=0.03
        ),
        loss_box=dict(type="L1BoxLoss", loss_weight=0.5, code_weights=(1.0,) * 8 + (0.2, 0.2)),
        loss_axis=dict(type="L1BoxLoss", loss_weight=0.5),
        min_radius=1,
        box_radius=1,
    ),
    channels_last=False,                           # without AVX-512 its gradient is a third slower
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="AutocastOptimWrapper", dtype="auto", constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", lr=3e-4, weight_decay=0.01, betas=(0.9, 0.99)),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.3, div_factor=10, by_epoch=False)]
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]       # statistics of single frames are rough
