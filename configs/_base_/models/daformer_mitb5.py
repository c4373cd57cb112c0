"""DAFormer's network for Cityscapes: MiT-B5 and the context-aware fusion head, 85.16 M parameters."""

model = dict(
    type="Segmentor",
    data_preprocessor=dict(
        type="ImageDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
        fit=(512, 1024),                           # Cityscapes halved; predictions have the picture's own size
    ),
    backbone=dict(type="MixTransformer", variant="b5", drop_path=0.1),
    head=dict(
        type="DAFormerHead", channels=256, embed_channels=256, dropout=0.1,
        fusion=dict(type="ContextASPP", dilations=(1, 6, 12, 18), separable=True),
    ),
    classes=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
)
