"""FlatFormer on Waymo as published: one frame, all training frames, 24 epochs; mAPH level 2 of 67.2."""

_base_ = ["../_base_/schedules/flatformer_2x.py"]

plugins = ["flatformer"]
classes = ("Car", "Pedestrian", "Cyclist")
point_range = (-74.88, -74.88, -2.0, 74.88, 74.88, 4.0)
voxel_size = (0.32, 0.32, 6.0)
grid = (468, 468)

model = dict(
    type="Detector",
    # published: tanh of intensity and elongation; intensity in [0, 1], as data sets give it, is the tanh already
    data_preprocessor=dict(
        type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity", "elongation"), squashed=("elongation",)
    ),
    voxel_encoder=dict(
        type="DynamicVFE", in_channels=5, channels=(64, 128), voxel_size=voxel_size, point_range=point_range,
        outside="clamp",
    ),
    lidar_backbone=dict(type="FlatFormer", channels=128, grid=grid, window=(13, 13), group_size=144, num_blocks=2),
    bev_backbone=dict(type="SECOND", in_channels=128, channels=(64, 128), layers=(3, 3), strides=(1, 2), residual=True),
    neck=dict(type="SECONDFPN", in_channels=(64, 128), channels=(128, 128), upsample=(1, 2)),
    head=dict(
        type="CenterHead",
        in_channels=256,
        tasks=[classes],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2), iou=(1, 2)),
        coder=dict(
            type="CenterCoder", box_convention="legacy", voxel_size=voxel_size, point_range=point_range,
            out_size_factor=1, max_num=4096, score_threshold=0.1, iou_power=2.0,
            post_center_range=(-74.88, -74.88, -10, 74.88, 74.88, 10),
        ),
        nms=dict(
            type="RotateNMS", threshold=(0.8, 0.55, 0.55), pre_max=(2048, 1024, 1024), post_max=(300, 100, 100),
            score_threshold=0.1, center_range=(-80, -80, -10, 80, 80, 10),
        ),
        loss_box=dict(type="L1BoxLoss", loss_weight=2.0, code_weights=(1.0,) * 8 + (0.0, 0.0)),
        loss_iou=dict(type="IoUBranchLoss", loss_weight=1.0),
        raised_iou=True,
        max_objects=500,
        min_overlap=0.1,
        min_radius=1,
    ),
)
