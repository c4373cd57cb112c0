"""kMaX-DeepLab over ResNet-50 as published for COCO: four maps, 128 clusters, the full semantic branch in training."""

plugins = ["kmax"]

model = dict(
    type="Segmentor",
    data_preprocessor=dict(type="ImageDataPreprocessor", mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    backbone=dict(type="ResNet", depth=50, norm_eps=1e-3, norm_momentum=0.01),
    head=dict(
        type="KMaXHead",
        num_classes=133,
        num_queries=128,
        pixel_decoder=dict(
            layers=(1, 5, 1, 1), channels=(512, 256, 128, 64),
            layer_types=("axial", "axial", "bottleneck", "bottleneck"),
        ),
        decoder=dict(layers=(2, 2, 2), drop_path=0.2),
        semantic_branch="full",
    ),
)
