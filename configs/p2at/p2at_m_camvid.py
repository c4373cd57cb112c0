"""P2AT-M as published for CamVid (mIoU 81.0 on its test split); trained on the training split."""

_base_ = ["p2at_s_camvid.py"]

model = dict(
    backbone=dict(depth=34),
    head=dict(criterion=dict(boundary_semantic_weight=1.0)),
)

optim_wrapper = dict(optimizer=dict(lr=4e-3))
