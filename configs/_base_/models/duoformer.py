"""DuoFormer on a ResNet-50 with tokens of two scales, as a classifier of 10 classes for 224 x 224 pixels.

Published for the tissue classes of histological slides (two sets of kidney cancer); there are no results on ImageNet.
"""

plugins = ["duoformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), pad_divisor=32
    ),
    network=dict(
        type="DuoFormerClassifier",
        num_classes=10,
        backbone=dict(
            type="DuoFormer", cnn=dict(type="ResNet", depth=50), variant="default", scales=2, scale_token="random"
        ),
    ),
)
