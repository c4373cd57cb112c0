"""SLAB-CSWin-S; the authors name no score."""

_base_ = ["./slab_cswin_tiny.py"]

model = dict(network=dict(backbone=dict(variant="small", drop_path=0.3)))
