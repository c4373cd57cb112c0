"""PEM's recipe for Cityscapes: AdamW, a cosine without warm-up, 90,000 iterations of 32 pictures."""

_base_ = ["../default_runtime.py"]

train_cfg = dict(type="IterationLoop", max_iters=90000, val_interval=5000)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype="auto",
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", lr=7e-4, weight_decay=0.05),
    # biases do decay; the embeddings of queries and levels do not
    paramwise_cfg=dict(no_decay=("decoder.query", "decoder.level_code"), lr_mult={"backbone.": 0.1}),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False)]
sync_bn = "all_reduce"
