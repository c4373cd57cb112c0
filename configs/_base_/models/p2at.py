"""P2AT-S: ResNet-18, and a decoder of 64 channels whose second auxiliary head learns boundaries.

Published training starts from ImageNet's weights of the encoder (torchvision's, which have the same names).
"""

plugins = ["p2at"]

model = dict(
    type="Segmentor",
    channels_last=True,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type="ResNet", depth=18),
    head=dict(
        type="P2ATHead", aux2_channels=1, width=64, key_dim=16, num_heads=8, num_layers=2,
        criterion=dict(type="P2ATLoss", auxiliary_weight=0.4, boundary_semantic_weight=1.0),
    ),
)
