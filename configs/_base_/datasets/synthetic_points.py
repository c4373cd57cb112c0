"""The synthetic city for the segmentation of LiDAR points: lidarseg and panoptic labels, the official scores.

First make it and list its frames (without --cameras none for models that look at pictures):
    python tools/create_data.py synthetic data/synthetic_map --train-scenes 60 --val-scenes 10 --cameras none
    python tools/create_data.py index nuscenes data/synthetic_map --split train    (then val)
"""

_base_ = ["../classes/nuscenes_segmentation.py"]

data_root = "data/synthetic_map"
class_names = _base_.point_classes

train_dataloader = dict(
    batch_size=1,                                  # of each of two processes
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="train", num_sweeps=0,
        point_labels="panoptic",
        transforms=[
            dict(type="RandomFlip"),
            dict(type="GlobalRotation", max_angle=0.785),
            dict(type="GlobalScaling", min_factor=0.95, max_factor=1.05),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(                                  # no transform: every point of the scan is scored
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="val", num_sweeps=0,
        point_labels="panoptic", transforms=[],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="NuScenesPointMetric")
test_evaluator = val_evaluator
