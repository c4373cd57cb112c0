"""PEM over a slim ResNet-18 for the synthetic city's cameras, made for half an hour of two CPU cores.

Published training begins with ImageNet's backbone; this one, with that of configs/p2at/p2at_s_synthetic.py:
    torchrun --nproc-per-node 2 tools/train.py configs/pem/pem_small_synthetic.py --launcher pytorch \\
        --cfg-options model.pretrained=work_dirs/p2at_s_synthetic/iter_2100.pth

One thing is not in the paper: the mask features learn the classes of pixels too.
"""

_base_ = [
    "../_base_/models/pem.py", "../_base_/datasets/synthetic_panoptic.py", "../_base_/schedules/onecycle_small.py",
    "../_base_/default_runtime.py",
]

max_iters = 2200

model = dict(
    classes=_base_.class_names,
    things=_base_.things,
    data_preprocessor=dict(fit=_base_.fit),
    backbone=dict(depth=18, base_channels=32, stem_channels=32),
    head=dict(
        things=_base_.things,
        pixel_decoder=dict(channels=64, mask_channels=64),
        decoder=dict(channels=128, num_queries=48, layers=3, hidden=256),
        loss=dict(num_points=0, weights=dict(mask=10.0), cost=dict(mask=10.0)),
        pixel_classes=dict(weight=2.0),
        object_threshold=0.5,
        overlap_threshold=0.6,
        max_instances=50,
    ),
)
train_dataloader = dict(
    batch_size=4,                                  # the means of fewer pictures are too few to normalise
    dataset=dict(
        transforms=[
            dict(type="LoadImages"), dict(type="RandomResizeImages", scales=(0.9, 1.5)),
            dict(type="RandomCropImages", size=(192, 320), max_share=0.75), *_base_.varied,
        ],
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(no_decay=("norm", "decoder.query", "decoder.level_code")))
param_scheduler = [dict(type="OneCycleLR", eta_max=1.5e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters * 4 // 5)]   # means over four pictures are normalised
