"""The smallest FlatFormer on a toy street."""

_base_ = ["../../configs/flatformer/flatformer_tiny.py"]
custom_imports = dict(imports=["toy_task"], allow_failed_imports=False)

num_threads = 1
train_cfg = dict(max_iters=8, val_interval=8)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="EpochSampler"),
    dataset=dict(type="ToyStreet", length=5, transforms=[dict(type="GlobalRotation", max_angle=0.5)]),
)
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ToyStreet", length=3, transforms=[]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ToyCount")
test_evaluator = val_evaluator
param_scheduler = [dict(type="OneCycleLR", eta_max=3e-3, by_epoch=False)]
custom_hooks = [dict(type="EmaHook", momentum=0.05)]
default_hooks = dict(checkpoint=dict(interval=4), scalars=dict(interval=1))
