"""VectorMapNet's released recipe: AdamW, two steps down, 130 epochs of nuScenes on 8 GPUs with 5 samples each."""

_base_ = ["../default_runtime.py"]

epoch = 703                                        # iterations: 28,130 samples / 40

train_cfg = dict(type="IterationLoop", max_iters=130 * epoch, val_interval=10 * epoch)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(bev_encoder=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=0.5, norm_type=2),     # of the release; the paper says 5
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=400, by_epoch=False),
    dict(type="MultiStepLR", milestones=[100 * epoch, 120 * epoch], gamma=0.1, by_epoch=False),
]
