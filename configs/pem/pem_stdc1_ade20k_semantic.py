"""PEM over STDC1 as published for ADE20K (mIoU 39.6)."""

_base_ = ["./pem_r50_ade20k_semantic.py"]

model = dict(backbone=dict(_delete_=True, type="STDC", depth="stdc1"))
