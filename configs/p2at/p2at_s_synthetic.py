"""P2AT over a slim ResNet-18 for the synthetic city's cameras, made for half an hour of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/p2at/p2at_s_synthetic.py --launcher pytorch
"""

_base_ = [
    "../_base_/models/p2at.py", "../_base_/datasets/synthetic_pictures.py", "../_base_/schedules/onecycle_small.py",
    "../_base_/default_runtime.py",
]

max_iters = 2900

model = dict(
    channels_last=False,                           # without AVX-512 its gradient is a third slower
    classes=_base_.class_names,
    data_preprocessor=dict(fit=_base_.fit),
    backbone=dict(base_channels=32, stem_channels=32),
    head=dict(
        width=32,
        criterion=dict(
            min_kept=10_500,                       # a sixteenth of the pixels of a batch
            boundary_weight=0.5,
            lovasz_weight=2.0,
            # (median share / share) ** 0.25 of the pixels of the training scenes
            class_weights=(1.3, 2.2, 0.8, 1.0, 1.05, 1.9, 1.55, 2.2, 0.95, 1.0, 0.5, 2.35, 1.0, 1.15, 0.55, 0.8, 0.55),
        ),
    ),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
