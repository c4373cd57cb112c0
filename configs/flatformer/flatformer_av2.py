"""FlatFormer on Argoverse 2, 26 classes in one task, five sweeps, to 102.4 m. The paper has no such model."""

_base_ = ["../_base_/datasets/argoverse2.py", "../_base_/schedules/cyclic_20e.py"]

plugins = ["flatformer"]
point_range = (-102.4, -102.4, -4.0, 102.4, 102.4, 4.0)
voxel_size = (0.4, 0.4, 8.0)
grid = (512, 512)

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
        tasks=[_base_.class_names],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2)),    # the benchmark scores no velocity
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, out_size_factor=1, max_num=1000,
            score_threshold=0.05,
        ),
        nms=dict(
            type="RotateNMS", threshold=(0.2,) * 26, pre_max=(300,) * 26, post_max=(100,) * 26, score_threshold=0.05
        ),
        loss_box=dict(type="L1BoxLoss", loss_weight=0.25),
        max_objects=500,
        min_overlap=0.1,
        min_radius=1,
    ),
)
optim_wrapper = dict(dtype="auto")
