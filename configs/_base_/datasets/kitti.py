"""KITTI detection from single scans, of what the camera sees ahead: loaders and augmentation.

There is no evaluator: the KITTI score is not offered, so a config that inherits from here trains without validation.
"""

data_root = "data/kitti"
class_names = ("Car", "Pedestrian", "Cyclist")

point_range = dict(type="RangeFilter", point_range=(0.0, -40.0, -1.3, 70.4, 40.0, 2.7))    # z of the ego frame
train_transforms = [
    dict(type="GlobalRotation", max_angle=0.785),  # 45 degrees
    dict(type="GlobalScaling", min_factor=0.95, max_factor=1.05),
    dict(type="RandomFlip", prob_x=0.0),           # only ahead is annotated
    point_range,
    dict(type="FilterClasses", classes=class_names),
    dict(type="PointShuffle"),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(type="KittiDataset", root=data_root, split="train", transforms=train_transforms),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="KittiDataset", root=data_root, split="val", transforms=[point_range]),
)
