"""kMaX-DeepLab's recipe: AdamW, a warm-up of 5000 iterations, then a power of what is left; for 64 images a batch."""

_base_ = ["../default_runtime.py"]

train_cfg = dict(type="IterationLoop", max_iters=150000, val_interval=5000)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype=None,                                                    # published: float16; try --amp
    constructor="DecayGroupsConstructor",
    paramwise_cfg=dict(no_decay=("norm", "bias", "_table", "centers", "gamma"), lr_mult={"backbone.": 0.1}),
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
)
param_scheduler = [dict(type="WarmupPolyLR", warmup=5000, first=1e-3, power=0.9, jumps=True, by_epoch=False)]
sync_bn = "all_reduce"
