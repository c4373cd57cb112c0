"""DRCT from scratch: Adam without weight decay, 32 patches an iteration; the average of the weights is scored."""

_base_ = ["../default_runtime.py"]

optim_wrapper = dict(type="AutocastOptimWrapper", dtype=None, optimizer=dict(type="Adam", lr=2e-4, betas=(0.9, 0.99)))
param_scheduler = [
    dict(type="MultiStepLR", milestones=[250_000, 400_000, 450_000, 475_000], gamma=0.5, by_epoch=False)
]
train_cfg = dict(type="IterationLoop", max_iters=500_000, val_interval=5000)
custom_hooks = [dict(type="EmaHook", momentum=0.001, warmup=0)]
