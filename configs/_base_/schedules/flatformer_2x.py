"""FlatFormer's recipe: AdamW, one cosine cycle over 24 epochs, made for 8 GPUs with one sample each."""

_base_ = ["../default_runtime.py"]

train_cfg = dict(type="IterationLoop", max_epochs=24, val_interval=20000)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype=None,                                                    # published: float16, static loss scale 32; try --amp
    constructor="DecayGroupsConstructor",
    paramwise_cfg=dict(no_decay=("norm",)),                        # published: the dense part's norms are decayed
    optimizer=dict(type="AdamW", lr=1e-5, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=10, norm_type=2),
)
# 1e-5 -> 1e-3 over 10 % of the iterations, -> 1e-8 over the rest
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.1, div_factor=100, final_div_factor=1e3, by_epoch=False),
]
sync_bn = "all_reduce"                                             # published: all but those of the head's branches
