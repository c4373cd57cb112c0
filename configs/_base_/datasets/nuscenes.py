"""nuScenes detection from ten sweeps: loaders, the customary augmentation, the official score.

First list the frames, once a split: python tools/create_data.py index nuscenes data/nuscenes --split train (then val).
"""

_base_ = ["../classes/nuscenes_detection.py"]

data_root = "data/nuscenes"
num_sweeps = 9                                     # earlier ones, so ten in all

aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
train_transforms = [
    aggregate,
    dict(type="GlobalRotation", max_angle=0.785),  # 45 degrees
    dict(type="GlobalScaling", min_factor=0.9, max_factor=1.1),
    dict(type="GlobalTranslation", std=(0.5, 0.5, 0.5)),
    dict(type="RandomFlip"),
    dict(type="RangeFilter", point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)),
    dict(type="FilterClasses", classes=_base_.class_names, min_points=1),
    dict(type="PointShuffle"),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=True),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="train", num_sweeps=num_sweeps,
        transforms=train_transforms,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="val", num_sweeps=num_sweeps,
        transforms=[aggregate],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="NuScenesDetectionMetric", root=data_root, version="v1.0-trainval", split="val")
test_evaluator = val_evaluator
