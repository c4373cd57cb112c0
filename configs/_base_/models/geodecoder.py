"""GeoDecoder over Swin-B at 224 pixels: tokens of the last stage and of the second one after its patch merging.

Published trainings begin with ImageNet-22k weights of the backbone. A ``partition`` makes it tell cells; the numbers of
cells then follow from it.
"""

plugins = ["geodecoder"]

model = dict(
    type="GeoLocalizer",
    data_preprocessor=dict(
        type="GeoDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
        short_side=(256, 100000), crop_size=(224, 224), crops="ten",
    ),
    backbone=dict(type="TorchvisionSwin", variant="base", out_indices=(1, 3)),
    head=dict(
        type="GeoDecoderHead", num_scenes=16, channels=1024, label_smoothing=0.1,
        decoder=dict(                              # 8 layers in all as in the paper; how it divides them is not known
            num_independent=5, num_dependent=3, heads=16, head_channels=64, hidden=1024,
        ),
    ),
)
