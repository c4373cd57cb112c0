"""A small MQBank for the synthetic city's LiDAR and SD map, made for minutes of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/mqbank/mqbank_lidar_synthetic.py --launcher pytorch

Its encoder starts from that of a trained VectorMapNet (configs/vectormapnet/vectormapnet_lidar_synthetic.py). Two
things are not in the paper: queries know the shape of their lane, and true lanes out of place practise what is to
become of the SD map's.
"""

_base_ = [
    "../_base_/models/small_lidar_map.py", "../_base_/datasets/synthetic_lanes.py",
    "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["mqbank"]
max_iters = 700

model = dict(
    init_cfg=dict(type="Pretrained", checkpoint="work_dirs/vectormapnet_lidar_synthetic/iter_3400.pth"),
    neck=dict(
        type="BEVNetwork",
        bev_backbone=dict(
            type="SECOND", in_channels=192, channels=(96,), layers=(1,), strides=(1,), residual=True, momentum=0.1,
        ),
        neck=dict(type="SECONDFPN", in_channels=(96,), channels=(96,), upsample=(1,), momentum=0.1),
    ),
    head=dict(
        type="LaneSegmentHead",
        decoder=dict(
            type="MQBankDecoder", channels=96, point_range=(-30.0, -15.0, -2.3, 30.0, 15.0, 1.7), num_queries=100,
            num_layers=3, max_anchors=40, bank_size=(30, 60), dropout=0.0, shape_code=True,
        ),
        weights=dict(mask=0.0, dice=0.0),
        double_last_refine=False,
        crossing_edges="long",                     # a mirrored scene has its annotated corners the other way round
        denoising=dict(),
        min_line_score=0.05,
    ),
    auxiliary_head=dict(in_channels=96),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters // 2)]
