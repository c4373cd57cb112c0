"""SLAB-PVTv2-B0, of which there is code but no score."""

_base_ = ["../_base_/models/slab.py"]

model = dict(
    network=dict(
        backbone=dict(type="SlabPVTv2", variant="b0", norm=_base_.norm_pvt),
    ),
)
