"""PEM over STDC2 as published for Cityscapes (mIoU 79.0)."""

_base_ = ["./pem_r50_cityscapes_semantic.py"]

model = dict(backbone=dict(_delete_=True, type="STDC", depth="stdc2"))
