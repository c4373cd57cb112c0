"""A small kMaX-DeepLab over ResNet-18 that trains on a CPU; classes and thresholds are the data set's."""

plugins = ["kmax"]

model = dict(
    type="Segmentor",
    backbone=dict(type="ResNet", depth=18, norm_eps=1e-3, norm_momentum=0.01),
    head=dict(
        type="KMaXHead",
        num_classes=19,
        num_queries=64,
        pixel_decoder=dict(
            layers=(1, 1, 1, 1), channels=(128, 64, 32, 16),
            layer_types=("axial", "axial", "bottleneck", "bottleneck"),
        ),
        decoder=dict(layers=(1, 1, 1), channels=128, base_channels=64, hidden=512, mask_channels=64),
        semantic_branch="light",
        semantic_channels=(128,),
        loss=dict(pixels=dict(count=1024), semantic=dict(count=0, temperature=1.0)),
        panoptic=dict(thing=0.5, stuff=0.3),
    ),
)
