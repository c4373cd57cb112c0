"""The synthetic city's camera pictures for the segmentation of things and stuff; see synthetic_pictures.py.

Whole pictures are trained on, so that segments are seen whole in training as in evaluation.
"""

_base_ = ["./synthetic_pictures.py"]

fit = (280, 500)                                   # what pictures are enlarged to, for what is small in them
things = tuple(range(10))                          # barrier to truck; the seven others are stuff
varied = [
    dict(type="FilterInstances", min_pixels=48),   # three cells of the masks
    dict(type="RandomFlip", prob_x=0.0),
    _base_.colours,
]

train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        transforms=[
            dict(type="LoadImages"), dict(type="RandomResizeImages", scales=(1.1, 1.4)),
            dict(type="RandomCropImages", size=fit), *varied,
        ],
    ),
)
val_evaluator = dict(type="PanopticSegmentationMetric")
test_evaluator = val_evaluator
