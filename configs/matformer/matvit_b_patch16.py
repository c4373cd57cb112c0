"""MatViT-B/16 as an ImageNet classifier of four widths; the paper shows its scores as curves.

Trained with ``train_cfg = dict(type="NestedLoop", ...)``: all widths of a batch, then one step.
"""

plugins = ["matformer"]

model = dict(
    type="Classifier",
    data_preprocessor=dict(type="ImageDataPreprocessor", mean=(127.5,) * 3, std=(127.5,) * 3),
    network=dict(
        type="MatViTClassifier", num_classes=1000,
        backbone=dict(type="MatViT", variant="b", class_token=True, dropout=0.1, drop_path=0.1),
    ),
)
