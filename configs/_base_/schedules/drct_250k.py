"""DRCT that goes on from other weights: half the iterations of drct_500k.py, at a twentieth of its rate."""

_base_ = ["./drct_500k.py"]

optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [
    dict(type="MultiStepLR", milestones=[125_000, 200_000, 225_000, 240_000], gamma=0.5, by_epoch=False)
]
train_cfg = dict(max_iters=250_000)
