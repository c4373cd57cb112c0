"""A small VectorMapNet for the synthetic city's cameras, made for half an hour of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/vectormapnet/vectormapnet_camera_synthetic.py --launcher pytorch

The pictures have a shallow network each and are laid on the ground with it; what is then seen from above goes through
the network that reads LiDAR. See vectormapnet_lidar_synthetic.py for the head.
"""

_base_ = "vectormapnet_lidar_synthetic.py"

max_iters = 2300
region = (-30.0, -15.0, 30.0, 15.0)
cameras = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")

model = dict(
    data_preprocessor=dict(cameras=cameras, use_points=False),
    bev_encoder=dict(
        _delete_=True,
        type="VectorMapNetEncoder", channels=32, region=region, grid=(192, 96),
        camera=dict(
            image_backbone=dict(type="ResNet", depth=18, base_channels=16, stem_channels=16, out_indices=(0,)),
            image_channels=16, groups=8, heights=(0.0,), pictures=True, channels_last=False,
        ),
    ),
    neck=dict(
        type="BEVNetwork",
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64, 96, 128), layers=(1, 2, 3, 3), strides=(2, 2, 2, 2),
            residual=True, momentum=0.1,
        ),
        neck=dict(
            type="SECONDFPN", in_channels=(32, 64, 96, 128), channels=(48, 48, 48, 48), upsample=(0.5, 1, 2, 4),
            momentum=0.1,
        ),
    ),
)

train_dataloader = dict(
    dataset=dict(
        num_sweeps=0, cameras=cameras,
        transforms=[
            dict(type="LoadImages"),
            dict(type="RandomFlip"),
            dict(type="GlobalRotation", max_angle=0.15),
            dict(type="GlobalTranslation", std=(1.0, 1.0, 0.0)),
            dict(type="CropVectorMap", region=region),
        ],
    ),
)
val_dataloader = dict(dataset=dict(num_sweeps=0, cameras=cameras, transforms=[dict(type="LoadImages")]))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
custom_hooks = [
    dict(type="FreezeNormHook", begin=max_iters // 2), dict(type="JointStageHook", begin=max_iters // 2),
]
