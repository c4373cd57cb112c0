"""FMViT-style classifier of 1000 classes in the tiny size of this project; not a reproduction of the paper.

Switched to deployment it consists of plain convolutions, ReLUs and an attention in each of the last three stages.
"""

plugins = ["fmvit"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000, backbone=dict(type="FMViT", variant="tiny", drop_path=0.1)
    ),
)
