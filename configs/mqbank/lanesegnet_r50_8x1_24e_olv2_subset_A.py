"""LaneSegNet as published for OpenLane-V2, subset A (AP_ls 32.0, AP_ped 34.9); for 8 GPUs with one sample each."""

_base_ = ["../_base_/datasets/openlanev2.py", "../_base_/default_runtime.py"]

plugins = ["mqbank"]
point_range = (-51.2, -25.6, -2.3, 51.2, 25.6, 1.7)
channels = 256
cameras = (
    "ring_front_center", "ring_front_left", "ring_front_right", "ring_rear_left", "ring_rear_right", "ring_side_left",
    "ring_side_right",
)

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", cameras=cameras, use_points=False, use_can_bus=True),
    bev_encoder=dict(
        type="BEVFormerEncoder",
        image_backbone=dict(
            type="ResNet", depth=50, style="pytorch", out_indices=(1, 2, 3), frozen_stages=1, norm_eval=True,
            norm_grad=False,
        ),
        neck=dict(type="FPN", in_channels=(512, 1024, 2048), channels=channels, extra_levels=1, relu_before_extra=True),
        lift=dict(
            type="BEVFormerLift", channels=channels, bev_size=(100, 200), point_range=point_range,
            num_cameras=len(cameras), levels=4, num_layers=3,
        ),
    ),
    head=dict(
        type="LaneSegmentHead",
        decoder=dict(
            type="LaneSegDecoder", channels=channels, point_range=point_range, num_queries=200, num_layers=6,
            sampling_points=32,
        ),
    ),
)

train_cfg = dict(type="IterationLoop", max_epochs=24, val_interval=20000)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype=None,
    optimizer=dict(type="AdamW", lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={"image_backbone": dict(lr_mult=0.1)}),
    clip_grad=dict(max_norm=35, norm_type=2),
)
# a third of 2e-4 -> 2e-4 within 500 iterations, a cosine to 2e-7 over all
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type="CosineAnnealingLR", eta_min_ratio=1e-3, by_epoch=False),
]
