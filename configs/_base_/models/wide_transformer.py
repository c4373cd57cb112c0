"""A wide encoder over patches as a picture classifier; variants of one budget are compared at equal width."""

plugins = ["wide_transformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000,
        backbone=dict(type="WideVisionTransformer", width=512, head_channels=64, dropout=0.1),
    ),
)
