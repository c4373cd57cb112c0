"""TokenFormer-B/16 as an ImageNet classifier, with as many rows as make it the size of the ViT; our reading.

Of the picture form no code was released: embedding, positions, pooling and rows are inferred, so the paper's score is
not told here.
"""

plugins = ["tokenformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000,     # the backbone's own norm is the last one
        backbone=dict(type="TokenFormer", variant="base", drop_path=0.1),
    ),
)
