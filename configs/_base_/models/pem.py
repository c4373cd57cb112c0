"""PEM over a ResNet-50; the data set tells the classes, and a panoptic model its ``things``.

Published training starts from ImageNet's weights of the backbone (torchvision's, which have the same names).
"""

plugins = ["pem"]

model = dict(
    type="Segmentor",
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), pad_divisor=32,
    ),
    backbone=dict(type="ResNet", depth=50),
    head=dict(
        type="PEMHead",
        pixel_decoder=dict(type="PEMPixelDecoder", channels=128, mask_channels=256),
        decoder=dict(channels=256, num_queries=100, layers=6, heads=8, hidden=2048),
        loss=dict(num_points=12544),
    ),
)
