"""FlatFormer on nuScenes, ten sweeps. The paper has no such model: its encoder, CenterPoint's tasks and recipe."""

_base_ = ["../_base_/datasets/nuscenes.py", "../_base_/schedules/cyclic_20e.py"]

plugins = ["flatformer"]
point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
voxel_size = (0.32, 0.32, 8.0)
grid = (320, 320)
tasks = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)

model = dict(
    type="Detector",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    voxel_encoder=dict(
        type="DynamicVFE", in_channels=5, channels=(64, 128), voxel_size=voxel_size, point_range=point_range
    ),
    lidar_backbone=dict(type="FlatFormer", channels=128, grid=grid, window=(13, 13), group_size=144, num_blocks=2),
    bev_backbone=dict(type="SECOND", in_channels=128, channels=(64, 128), layers=(3, 3), strides=(1, 2), residual=True),
    neck=dict(type="SECONDFPN", in_channels=(64, 128), channels=(128, 128), upsample=(1, 2)),
    head=dict(
        type="CenterHead",
        in_channels=256,
        tasks=tasks,
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, out_size_factor=1, max_num=500,
            score_threshold=0.1, post_center_range=(-61.2, -61.2, -10, 61.2, 61.2, 10),
        ),
        nms=dict(type="RotateNMS", threshold=0.2, pre_max=1000, post_max=83, score_threshold=0.1),
        loss_box=dict(type="L1BoxLoss", loss_weight=0.25, code_weights=(1.0,) * 8 + (0.2, 0.2)),
        max_objects=500,
        min_overlap=0.1,
        min_radius=2,
    ),
)
optim_wrapper = dict(dtype="auto")
