"""MemoryFormer as an ImageNet classifier of 224 x 224 pictures; a config adds the size. Trained by no one yet."""

plugins = ["memoryformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(type="BackboneClassifier", num_classes=1000),
)
