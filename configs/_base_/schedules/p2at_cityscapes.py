"""P2AT's default recipe, which has the crops (1024 by 1024) of Cityscapes; no Cityscapes config was released.

Made for 2 GPUs with 4 pictures each; an epoch of the training split is 372 iterations. `PolyLR` is at 0 one iteration
before its end.
"""

_base_ = ["../default_runtime.py"]

optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype=None,                                                    # published: float16; try --amp
    optimizer=dict(type="SGD", lr=1e-2, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, by_epoch=False, end=200 * 372 + 1)]
train_cfg = dict(type="IterationLoop", max_iters=200 * 372, val_interval=10 * 372)
randomness = dict(seed=304)
