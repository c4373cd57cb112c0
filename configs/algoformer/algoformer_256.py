"""An AlgoFormer of width 256 and one layer a part over patches of 16 pixels; ours, the paper has no picture model."""

plugins = ["algoformer"]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000,
        backbone=dict(type="AlgoFormerBackbone", width=256, heads=8, loops=10, inject="add"),
    ),
)
