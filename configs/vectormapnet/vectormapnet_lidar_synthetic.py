"""A small VectorMapNet for the synthetic city's LiDAR, made for half an hour of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/vectormapnet/vectormapnet_lidar_synthetic.py --launcher pytorch

Five things that the published model has not make so short a training possible: queries that begin at proposals of the
map, codes of a cell that resemble those of its neighbours, an auxiliary head, both stages in one run, and vertices at
the median of what the generator deems possible.
"""

_base_ = [
    "../_base_/models/small_lidar_map.py", "../_base_/datasets/synthetic_map.py",
    "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

plugins = ["vectormapnet"]
max_iters = 3400
region = (-30.0, -15.0, 30.0, 15.0)

model = dict(
    head=dict(
        type="VectorMapHead", in_channels=192, region=region, normalisation="true", bin_offset=0.5,
        # no dropout: on a CPU drawing it takes a third of a step
        detector=dict(
            num_queries=30, channels=128, layers=3, hidden=256, dropout=0.0, frequencies=5,
            proposals=dict(channels=96, radius=2),
        ),
        generator=dict(
            channels=128, layers=3, hidden=256, max_positions=64, dropout=0.0, frequencies=5, stride=2, ordered=True,
        ),
        top_k=25, max_vertices=16, nucleus=0.0, median=True,
    ),
)

train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [
    dict(type="FreezeNormHook", begin=max_iters // 2), dict(type="JointStageHook", begin=max_iters // 2),
]
