"""Vision Mamba and VMamba as ImageNet classifiers of 224 x 224 pictures; a config adds the network's type and backbone.

Who trains them gives no weight decay to ``no_decay``, which `DecayGroupsConstructor` takes as it is.
"""

plugins = ["ssm_vision"]

no_decay = ("norm", "A_log", ".D", "Ds", "dt_bias", "dt_projs_bias", "bias")
model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(num_classes=1000),
)
