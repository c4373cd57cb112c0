"""DAFormer's recipe: AdamW, 40,000 iterations of 2 + 2 crops on one GPU, evaluated every 4000."""

_base_ = ["../default_runtime.py"]

train_cfg = dict(type="IterationLoop", max_iters=40000, val_interval=4000)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    # of two keys of one length the first in the alphabet wins, so the head's norms are decayed, as published
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0), norm=dict(decay_mult=0.0))),
)
param_scheduler = [dict(type="WarmupPolyLR", warmup=1500, first=1e-6, power=1.0, by_epoch=False)]
