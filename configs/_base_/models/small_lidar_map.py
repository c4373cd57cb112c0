"""A LiDAR encoder of map models for two CPU cores: 192 by 96 pillars over 60 m by 30 m, down to maps of 12 by 6.

At its coarsest a cell sees the whole region, as lines that go right across it need. An auxiliary head tells the encoder
which cells true lines run through.
"""

momentum = 0.1                                     # of the normalisations: their statistics follow a short training

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", channels=("x", "y", "z", "intensity", "time")),
    bev_encoder=dict(
        type="LidarBEVEncoder",
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=5, channels=(32,), voxel_size=(0.3125, 0.3125, 6.0),
            point_range=(-30.0, -15.0, -3.0, 30.0, 15.0, 3.0), standardize=True, momentum=momentum,
        ),
        lidar_backbone=dict(type="PillarScatter", grid=(192, 96)),
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64, 96, 128), layers=(1, 2, 3, 3), strides=(2, 2, 2, 2),
            residual=True, momentum=momentum,
        ),
        neck=dict(
            type="SECONDFPN", in_channels=(32, 64, 96, 128), channels=(48, 48, 48, 48), upsample=(0.5, 1, 2, 4),
            momentum=momentum,
        ),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    auxiliary_head=dict(
        type="LineSegmentation", in_channels=192, region=(-30.0, -15.0, 30.0, 15.0), loss_weight=2.0
    ),
)
