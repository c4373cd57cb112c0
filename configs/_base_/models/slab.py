"""SLAB as an ImageNet classifier of 224 x 224 pictures; a config adds the backbone and the norm before the mean.

``norm_*`` are the progressive norms of each family; ``rep_norm`` is what remains of one at inference, as which the
authors build the networks whose weights they released without linear attention.
"""

plugins = ["slab"]

norm_deit = dict(type="PRepBN", steps=60_000, eps=1e-6)
norm_pvt = dict(type="PRepBN", steps=300_000, eps=1e-6)
norm_swin = dict(type="PRepBN", steps=60_000, eps=1e-5)
norm_cswin = dict(type="PRepBN", steps=120_000, eps=1e-5)
rep_norm = dict(type="RepBN")
model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(type="BackboneClassifier", num_classes=1000),
)
