"""A small FlatFormer that learns two annotated sweeps of one Argoverse 2 log by heart: the whole road on real data.

python tools/create_data.py index argoverse2 data/argoverse2/sensor --split val --out work_dirs/av2.parquet
python tools/train.py configs/flatformer/flatformer_av2_sample.py --cfg-options index=work_dirs/av2.parquet
"""

_base_ = ["../_base_/classes/argoverse2_detection.py", "../_base_/default_runtime.py"]

plugins = ["flatformer"]
max_iters = 250
data_root = "data/argoverse2/sensor"
index = None                                       # Parquet file of the frames, if it does not lie in data_root
point_range = (-102.4, -102.4, -4.0, 102.4, 102.4, 4.0)
voxel_size = (0.4, 0.4, 8.0)
grid = (512, 512)
momentum = 0.1                                     # of the normalisations: their statistics follow a short training

model = dict(
    type="Detector",
    data_preprocessor=dict(type="FrameDataPreprocessor", channels=("x", "y", "z", "intensity")),
    voxel_encoder=dict(
        type="DynamicVFE", in_channels=4, channels=(32,), voxel_size=voxel_size, point_range=point_range,
        standardize=True, momentum=momentum,
    ),
    lidar_backbone=dict(
        type="FlatFormer", channels=32, grid=grid, window=(9, 9), group_size=69, num_blocks=1, num_heads=4
    ),
    bev_backbone=dict(
        type="SECOND", in_channels=32, channels=(32, 64), layers=(1, 2), strides=(2, 2), residual=True,
        momentum=momentum,
    ),
    neck=dict(type="SECONDFPN", in_channels=(32, 64), channels=(32, 32), upsample=(1, 2), momentum=momentum),
    head=dict(
        type="CenterHead",
        in_channels=64,
        tasks=[_base_.class_names],
        common_heads=dict(reg=(2, 1), height=(1, 1), dim=(3, 1), rot=(2, 1)),
        shared_channels=32,
        shared_momentum=momentum,
        head_channels=32,
        coder=dict(
            type="CenterCoder", voxel_size=voxel_size, point_range=point_range, out_size_factor=2, max_num=500,
            score_threshold=0.1,
        ),
        nms=dict(type="RotateNMS", threshold=0.2, pre_max=500, post_max=300, score_threshold=0.1),
        loss_box=dict(type="L1BoxLoss", loss_weight=1.0),
        min_radius=1,
    ),
    channels_last=False,                           # without AVX-512 its gradient is a third slower
)

dataset = dict(
    type="Argoverse2Dataset",
    root=data_root,
    index=index,
    split="val",
    logs=("7fab2350-7eaf-3b7e-a39d-6937a4c1bede",),
    num_sweeps=0,
    transforms=[
        dict(type="AggregateSweeps", num_sweeps=0),        # a replay offers earlier ones
        dict(type="RangeFilter", point_range=point_range),
        dict(type="FilterClasses", classes=_base_.class_names, min_points=1),
    ],
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="EpochSampler", class_balanced=False), dataset=dataset
)
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False), dataset=dataset
)
test_dataloader = val_dataloader
val_evaluator = dict(type="Argoverse2DetectionMetric", root=data_root, split="val", only_roi=False)
test_evaluator = val_evaluator

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [dict(type="OneCycleLR", eta_max=4e-3, pct_start=0.2, by_epoch=False)]
