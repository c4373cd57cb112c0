"""A small kMaX-DeepLab over ResNet-18 that trains on a CPU; classes and thresholds are the data set's."""

_base_ = ["./kmax_r50.py"]

model = dict(
    backbone=dict(depth=18),
    head=dict(
        num_classes=19,
        num_queries=64,
        pixel_decoder=dict(layers=(1, 1, 1, 1), channels=(128, 64, 32, 16)),
        decoder=dict(layers=(1, 1, 1), channels=128, base_channels=64, hidden=512, mask_channels=64, drop_path=0.0),
        semantic_branch="light",
        semantic_channels=(128,),
        loss=dict(pixels=dict(count=1024), semantic=dict(count=0, temperature=1.0)),
        panoptic=dict(thing=0.5, stuff=0.3),
    ),
)
