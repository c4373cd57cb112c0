"""The skeleton of PoolFormer-S12 with other token mixers, as in the paper's ablation; made for 224 x 224 pixels."""

plugins = ["poolformer"]

pooling = dict(type="PoolingMixer", pool_size=3)
attention = dict(type="AttentionMixer", head_channels=32, qkv_bias=False)
model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    network=dict(
        type="BackboneClassifier", num_classes=1000, norm="layer",
        backbone=dict(
            type="MetaFormer", depths=(2, 2, 6, 2), widths=(64, 128, 320, 512), token_mixer=pooling, norm="layer",
            layer_scale=1e-5, drop_path=0.1,
        ),
    ),
)
