"""P2AT-S for CamVid, trained on its training and validation splits: 59 iterations an epoch."""

_base_ = ["p2at_s_camvid.py"]

model = dict(head=dict(criterion=dict(boundary_semantic_weight=1.0)))

param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, by_epoch=False, end=140 * 59 + 1)]
train_cfg = dict(type="IterationLoop", max_iters=80 * 59, val_interval=59)
train_dataloader = dict(dataset=dict(split=("train", "val")))
val_dataloader = dict(dataset=dict(split="test"))   # the pictures of val are learnt from
