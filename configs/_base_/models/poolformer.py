"""PoolFormer-S12 as an ImageNet classifier (top-1 77.2 % as published).

Published pictures are cropped to 224 x 224 after a resize by which the crop is 0.9 of the shorter side, 0.95 for M36
and M48.
"""

plugins = ["poolformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000, norm="group",
        backbone=dict(type="PoolFormer", variant="s12", drop_path=0.1),
    ),
)
