"""DF2K and Set5 in pairs of scale 4."""

_base_ = ["./df2k.py"]

scale = 4
train_dataloader = dict(
    dataset=dict(transforms=[*_base_.varied, dict(type="ResolutionPairs", scale=scale, patch=_base_.patch)])
)
val_dataloader = dict(dataset=dict(transforms=[dict(type="LoadImages"), dict(type="ResolutionPairs", scale=scale)]))
test_dataloader = val_dataloader
