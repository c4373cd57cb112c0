"""TNT-S in the older form of which timm has weights, tnt_s_legacy_patch16_224.in1k."""

_base_ = ["./tnt_s_patch16_224.py"]

model = dict(network=dict(backbone=dict(legacy=True)))
