"""GeoDecoder over a slim ResNet-18 for eight synthetic towns, made for a quarter of an hour of two CPU cores.

    python tools/create_data.py synthetic data/synthetic_towns --towns 8 --train-scenes 160 --val-scenes 24 \\
        --duration 50 --density 0.4 --columns 36 --channels CAM_FRONT --picture-scale 0.4
    python tools/create_data.py index nuscenes data/synthetic_towns --split train
    python tools/create_data.py index nuscenes data/synthetic_towns --split val
    python tools/create_data.py partition configs/geodecoder/geodecoder_small_synthetic.py \\
        --tau-max 4000 1000 6 --tau-min 5 --level-max 16 --out data/synthetic_towns/partition.parquet
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 tools/train.py configs/geodecoder/geodecoder_small_synthetic.py \\
        --launcher pytorch --cfg-options model.pretrained=work_dirs/p2at_s_synthetic/iter_2100.pth
Published training begins with ImageNet's backbone; this one, with that of configs/p2at/p2at_s_synthetic.py. A town is a
cell of the first hierarchy: ``geo/cell_accuracy_0`` is the share of pictures whose town is told right, 0.978 after 13.6
minutes, and ``geo/tile_accuracy`` the share of those whose finest cell of 77 is, 0.490 (0.735 among the best three).
"""

_base_ = [
    "../_base_/datasets/synthetic_towns.py", "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["geodecoder"]
max_iters = 2500

model = dict(
    type="GeoLocalizer",
    data_preprocessor=dict(type="GeoDataPreprocessor"),
    partition=_base_.partition,
    channels_last=True,
    backbone=dict(type="ResNet", depth=18, stem_channels=32, base_channels=32, out_indices=(2, 3)),
    head=dict(
        type="GeoDecoderHead", num_scenes=1, channels=128, label_smoothing=0.1,
        decoder=dict(num_independent=1, num_dependent=1, heads=4, head_channels=32, hidden=256),
    ),
)

optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
param_scheduler = [dict(type="OneCycleLR", eta_max=1.5e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
