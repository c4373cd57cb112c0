"""Activator with feed-forward nets for 32 x 32 pixels: a bag of patches.

The paper's scores are of an equalised small setting, which is not told to be this one.
"""

plugins = ["activator"]

model = dict(
    type="Classifier",
    data_preprocessor=dict(type="ImageDataPreprocessor", mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    network=dict(type="BackboneClassifier", num_classes=10, backbone=dict(type="Activator")),
)
