"""A small VectorMapNet that learns the map around two real sweeps of one Argoverse 2 log by heart.

python tools/create_data.py index argoverse2 data/argoverse2/sensor --split val --out work_dirs/av2.parquet
python tools/train.py configs/vectormapnet/vectormapnet_av2_sample.py --cfg-options index=work_dirs/av2.parquet
"""

_base_ = ["../_base_/default_runtime.py"]

plugins = ["vectormapnet"]
max_iters = 400
data_root = "data/argoverse2/sensor"
index = None                                       # Parquet file of the frames, if it does not lie in data_root
region = (-30.0, -15.0, 30.0, 15.0)
point_range = (-30.0, -15.0, -4.0, 30.0, 15.0, 4.0)
voxel_size = (0.3, 0.3, 8.0)
momentum = 0.1                                     # of the normalisations: their statistics follow a short training

model = dict(
    type="MapGenerator",
    data_preprocessor=dict(type="MapDataPreprocessor", channels=("x", "y", "z", "intensity")),
    bev_encoder=dict(
        type="LidarBEVEncoder",
        voxel_encoder=dict(
            type="DynamicVFE", in_channels=4, channels=(32,), voxel_size=voxel_size, point_range=point_range,
            standardize=True, momentum=momentum,
        ),
        lidar_backbone=dict(type="PillarScatter", grid=(200, 100)),
        bev_backbone=dict(
            type="SECOND", in_channels=32, channels=(32, 64), layers=(1, 2), strides=(2, 2), residual=True,
            momentum=momentum,
        ),
        neck=dict(
            type="SECONDFPN", in_channels=(32, 64), channels=(32, 32), upsample=(0.5, 1), momentum=momentum
        ),
        channels_last=False,                       # without AVX-512 its gradient is a third slower
    ),
    head=dict(
        type="VectorMapHead", in_channels=64, region=region, normalisation="true", bin_offset=0.5,
        detector=dict(num_queries=40, channels=64, layers=3, hidden=128, dropout=0.0),
        generator=dict(channels=128, layers=3, hidden=256, max_positions=64, dropout=0.0),
        top_k=25, max_vertices=48, nucleus=0.0,
    ),
)

dataset = dict(
    type="Argoverse2Dataset",
    root=data_root,
    index=index,
    split="val",
    logs=("7fab2350-7eaf-3b7e-a39d-6937a4c1bede",),
    num_sweeps=0,
    map=dict(region=region),
    transforms=[
        dict(type="AggregateSweeps", num_sweeps=0),        # a replay offers earlier ones
        dict(type="RangeFilter", point_range=point_range),
    ],
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="EpochSampler", class_balanced=False), dataset=dataset
)
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False), dataset=dataset
)
test_dataloader = val_dataloader
val_evaluator = dict(type="VectorMapMetric")
test_evaluator = val_evaluator

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.0),
    clip_grad=dict(max_norm=5.0, norm_type=2),
)
param_scheduler = [dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.2, by_epoch=False)]
