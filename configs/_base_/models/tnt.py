"""TNT as a classifier of ImageNet's 1,000 classes.

As published, pictures are scored on the middle 224 x 224 pixels after bicubic resizing to a shorter side of 248.
"""

plugins = ["tnt"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(type="ImageDataPreprocessor", mean=(127.5,) * 3, std=(127.5,) * 3, pad_divisor=16),
    network=dict(type="TNTClassifier", backbone=dict(type="TNT", img_size=224, drop_path=0.1), num_classes=1000),
)
