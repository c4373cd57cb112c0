"""P2AT-M for CamVid, trained on its training and validation splits: 59 iterations an epoch.

Published: the second part of a run over 200 epochs, resumed after 120; here it is one run from the start.
"""

_base_ = ["p2at_m_camvid.py"]

optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=5e-3))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, by_epoch=False, end=200 * 59 + 1)]
train_cfg = dict(type="IterationLoop", max_iters=200 * 59, val_interval=59)
train_dataloader = dict(dataset=dict(split=("train", "val")))
val_dataloader = dict(dataset=dict(split="test"))   # the pictures of val are learnt from
