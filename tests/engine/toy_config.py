"""Trains the toy task with all that makes resuming hard: dropout, augmentation, accumulation, schedules, averaging."""

_base_ = ["../../configs/_base_/default_runtime.py"]
custom_imports = dict(imports=["toy_task"], allow_failed_imports=False)

num_threads = 1
model = dict(type="ToyModel", width=8, dropout=0.2)
train_cfg = dict(type="IterationLoop", max_iters=12, val_interval=6)
train_dataloader = dict(
    batch_size=4, num_workers=0,
    sampler=dict(type="EpochSampler"),
    dataset=dict(type="ToyDataset", length=22, transforms=[dict(type="ToyJitter")]),
)
val_dataloader = dict(
    batch_size=4, num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ToyDataset", length=7, transforms=[]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ToyAccuracy")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=2,
    constructor="DecayGroupsConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=4),
]
custom_hooks = [dict(type="EmaHook", momentum=0.1, warmup=2)]
default_hooks = dict(
    logger=dict(type="ProgressHook", interval=4),
    scalars=dict(type="ScalarsHook", interval=1, tensorboard=False),
    checkpoint=dict(type="AtomicCheckpointHook", interval=3, max_keep=-1, save_best="accuracy"),
)
