"""Argoverse 2 detection of the 26 scored categories from five sweeps: loaders, augmentation, the official score.

First list the frames, once a split: python tools/create_data.py index argoverse2 data/argoverse2/sensor --split train
"""

_base_ = ["../classes/argoverse2_detection.py"]

data_root = "data/argoverse2/sensor"
num_sweeps = 4                                     # earlier ones, so five in all

aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
train_transforms = [
    aggregate,
    dict(type="GlobalRotation", max_angle=0.785),  # 45 degrees
    dict(type="GlobalScaling", min_factor=0.95, max_factor=1.05),
    dict(type="RandomFlip"),
    dict(type="RangeFilter", point_range=(-150.0, -150.0, -5.0, 150.0, 150.0, 5.0)),
    dict(type="FilterClasses", classes=_base_.class_names, min_points=1),
    dict(type="PointShuffle"),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="Argoverse2Dataset", root=data_root, split="train", num_sweeps=num_sweeps, transforms=train_transforms
    ),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="Argoverse2Dataset", root=data_root, split="val", num_sweeps=num_sweeps, transforms=[aggregate]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="Argoverse2DetectionMetric", root=data_root, split="val")
test_evaluator = val_evaluator
