"""PEM as published for the 150 classes of ADE20K (mIoU 45.5): the backbone's norms stay as ImageNet left them."""

_base_ = ["../_base_/models/pem.py", "../_base_/schedules/pem_90k.py"]

model = dict(backbone=dict(norm_eval=True, norm_grad=False), things=(), head=dict(num_classes=150))
train_cfg = dict(max_iters=160000)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [dict(type="CosineAnnealingLR", eta_min_ratio=1 / 400, by_epoch=False)]      # 4e-4 -> 1e-6
