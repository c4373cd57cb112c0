"""P2AT over a slim ResNet-18 for the synthetic city's cameras, made for half an hour of two CPU cores.

    torchrun --nproc-per-node 2 tools/train.py configs/p2at/p2at_s_synthetic_begin.py --launcher pytorch
    torchrun --nproc-per-node 2 tools/train.py configs/p2at/p2at_s_synthetic.py --launcher pytorch \\
        --cfg-options load_from=work_dirs/p2at_s_synthetic_begin/iter_1200.pth
The first ten minutes are spent on small pictures, of which a step sees more.
"""

_base_ = [
    "../_base_/models/p2at.py", "../_base_/datasets/synthetic_pictures.py", "../_base_/schedules/onecycle_small.py",
    "../_base_/default_runtime.py",
]

max_iters = 2100

model = dict(
    channels_last=False,                           # without AVX-512 its gradient is a third slower
    classes=_base_.class_names,
    augmentation=dict(scales=(1.0, 1.5), flip=True),           # outside training alone
    backbone=dict(base_channels=32, stem_channels=32),
    head=dict(
        width=32,
        loss_stride=2,
        logit_adjustment=0.75,                     # best of five on training pictures
        criterion=dict(
            min_kept=2_880,                        # a sixteenth of the pixels of a batch that are looked at
            boundary_weight=0.5,
            lovasz_weight=1.0,
            lovasz_stride=2,
            # (median share / share) ** 0.4 of the pixels of the training scenes
            class_weights=(1.5, 3.5, 0.7, 1.0, 1.1, 2.7, 2.0, 3.5, 0.9, 1.0, 0.35, 3.9, 1.0, 1.2, 0.4, 0.7, 0.4),
        ),
    ),
)

param_scheduler = [dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.04, div_factor=4, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
