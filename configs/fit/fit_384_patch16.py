"""FIT of width 384 on crops of 224 x 224 pixels as a picture classifier; the size is ours, none was released."""

plugins = ["fit"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(type="BackboneClassifier", num_classes=1000, backbone=dict(type="FIT")),
)
