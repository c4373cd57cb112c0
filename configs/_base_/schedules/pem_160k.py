"""PEM's recipe for ADE20K: as for Cityscapes, 160,000 iterations from a lower rate that does not end at 0."""

_base_ = ["./pem_90k.py"]

train_cfg = dict(max_iters=160000)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [dict(type="CosineAnnealingLR", eta_min_ratio=1 / 400, by_epoch=False)]      # 4e-4 -> 1e-6
