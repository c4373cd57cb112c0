"""Gating units behind depthwise convolutions in the stages of PoolFormer-S12, as an ImageNet classifier; ours."""

plugins = ["activator"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(type="BackboneClassifier", num_classes=1000, norm="layer", backbone=dict(type="ActivatorMetaFormer")),
)
