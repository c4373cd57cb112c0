"""P2AT's recipe for CamVid: SGD, the rate falls polynomially for 140 epochs, of which 80 are run.

Made for 2 GPUs with 4 pictures of 720 by 960 pixels each; an epoch of the training split is 46 iterations. `PolyLR` is
at 0 one iteration before its end.
"""

_base_ = ["../default_runtime.py"]

optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype=None,                                                    # published: float16; try --amp
    optimizer=dict(type="SGD", lr=1e-3, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, by_epoch=False, end=140 * 46 + 1)]
train_cfg = dict(type="IterationLoop", max_iters=80 * 46, val_interval=46)
randomness = dict(seed=304)
