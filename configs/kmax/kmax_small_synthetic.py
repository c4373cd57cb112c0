"""kMaX-DeepLab over a slim ResNet-18 for the synthetic city's cameras, made for half an hour of two CPU cores.

Published training begins with ImageNet's backbone; this one, with that of configs/p2at/p2at_s_synthetic.py:
    torchrun --nproc-per-node 2 tools/train.py configs/kmax/kmax_small_synthetic.py --launcher pytorch \\
        --cfg-options model.pretrained=work_dirs/p2at_s_synthetic/iter_2100.pth

Three things are not in the paper: the pixels that masks are read from tell their class too, those of small segments
count for more in the masks' entropy, and masks begin sharper. Clusters sum up their pixels, so evaluation needs
pictures of the size that was trained on.
"""

_base_ = [
    "../_base_/models/kmax_small.py", "../_base_/datasets/synthetic_panoptic.py",
    "../_base_/schedules/onecycle_small.py", "../_base_/default_runtime.py",
]

max_iters = 1650

model = dict(
    classes=_base_.class_names,
    things=_base_.things,
    # sides of 32 n + 1 pixels: then the corner pixels of all maps fall on each other
    data_preprocessor=dict(type="ImageDataPreprocessor", pad_divisor=32, pad_remainder=1, fit=_base_.fit),
    backbone=dict(base_channels=32, stem_channels=32, norm_eps=1e-5, norm_momentum=0.1),
    head=dict(
        num_classes=len(_base_.class_names),
        num_queries=48,                            # so many segments has one picture of a hundred
        things=_base_.things,
        pixel_decoder=dict(channels=(64, 32, 32, 16)),
        decoder=dict(hidden=256, mask_scale=1.0),
        max_instances=50,
        semantic_branch="pixel",
        semantic_channels=(64,),
        loss=dict(
            weights=dict(loss_ce=3.0, loss_mask=2.0, loss_dice=12.0, loss_pixel_insdis=0.5, loss_aux_semantic=2.0),
            pixels=dict(count=512, temperature=1.0), semantic=dict(count=2048, temperature=1.0), area_power=0.5,
        ),
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(no_decay=("norm", "bias", "_table", "centers")))
param_scheduler = [dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.1, div_factor=10, by_epoch=False)]
train_cfg = dict(type="IterationLoop", max_iters=max_iters, val_interval=max_iters)
custom_hooks = [dict(type="FreezeNormHook", begin=max_iters * 4 // 5)]   # a batch has few pictures
