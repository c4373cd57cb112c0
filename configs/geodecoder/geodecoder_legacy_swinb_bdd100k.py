"""The authors' public code for BDD100K: 49, 215 and 520 cells."""

_base_ = ["./geodecoder_legacy_swinb_mp16.py"]

model = dict(head=dict(num_classes=(49, 215, 520)))
