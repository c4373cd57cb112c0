"""MemoryFormer-tiny over patches of 16 x 16 pixels as an ImageNet classifier; the authors have no picture form."""

_base_ = ["../_base_/models/memoryformer.py"]

model = dict(network=dict(backbone=dict(type="MemoryFormer", variant="tiny")))
