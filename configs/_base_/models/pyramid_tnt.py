"""PyramidTNT as a classifier of ImageNet's 1,000 classes.

As published, pictures are scored on the middle 256 x 256 pixels (variant Ti: 192 x 192) after bicubic resizing to a
shorter side of 284 (213).
"""

plugins = ["tnt"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(type="ImageDataPreprocessor", mean=(127.5,) * 3, std=(127.5,) * 3, pad_divisor=32),
    network=dict(
        type="BackboneClassifier", backbone=dict(type="PyramidTNT", img_size=256, drop_path=0.1), num_classes=1000,
        norm="layer",
    ),
)
