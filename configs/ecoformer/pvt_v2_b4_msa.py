"""PVTv2-B4 with softmax attention among all tokens, whose weights the one with EcoFormer's attention begins with."""

_base_ = ["../_base_/models/ecoformer_pvt_v2.py"]

model = dict(network=dict(backbone=dict(variant="b4", attention="msa")))
