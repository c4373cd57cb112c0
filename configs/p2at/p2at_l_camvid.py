"""P2AT-L as published for CamVid (mIoU 81.1 on its test split)."""

_base_ = ["p2at_m_camvid.py"]

model = dict(
    backbone=dict(depth=50),
    head=dict(criterion=dict(auxiliary_weight=1.0)),
)
