"""The synthetic city, a nuScenes root: loaders, augmentation, the official score.

First make it and list its frames:
    python tools/create_data.py synthetic data/synthetic
    python tools/create_data.py index nuscenes data/synthetic --split train    (then val)
    python tools/create_data.py objects nuscenes data/synthetic --num-sweeps 2 --out data/synthetic/objects
"""

_base_ = ["../classes/nuscenes_detection.py"]

data_root = "data/synthetic"
objects = data_root + "/objects"
num_sweeps = 2                                     # earlier ones, so three in all

aggregate = dict(type="AggregateSweeps", num_sweeps=num_sweeps)
train_transforms = [
    aggregate,
    dict(
        type="PasteObjects", database=objects,
        groups=dict(car=18, truck=5, construction_vehicle=4, bus=4, trailer=4, barrier=6, motorcycle=6, bicycle=6),
    ),
    # neither mirrored nor turned far: the traffic keeps to the right, from which a short training learns where it heads
    dict(type="GlobalRotation", max_angle=0.1),
    dict(type="GlobalScaling", min_factor=0.95, max_factor=1.05),
    dict(type="RangeFilter", point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)),
    dict(type="FilterClasses", classes=_base_.class_names, min_points=1),
    dict(type="PointShuffle"),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=0,                                 # a third process would take more from two cores than it gives
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="train", num_sweeps=num_sweeps,
        transforms=train_transforms,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
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
