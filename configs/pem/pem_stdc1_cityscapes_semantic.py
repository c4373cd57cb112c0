"""PEM over STDC1 as published for Cityscapes (mIoU 78.3)."""

_base_ = ["./pem_r50_cityscapes_semantic.py"]

model = dict(backbone=dict(_delete_=True, type="STDC", depth="stdc1"))
