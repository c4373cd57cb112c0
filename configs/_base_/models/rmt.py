"""RMT for ImageNet's 1000 classes; the variant is told by the configs that inherit."""

plugins = ["rmt"]

model = dict(
    type="Classifier",
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(type="RMTClassifier", num_classes=1000, backbone=dict(type="RMT")),
)
