"""OpenLane-V2, subset A: seven ring cameras at half size, lane segments and crossings within 100 m by 50 m.

The release also leaves out four drives whose map has changed, and distorts colours and masks the pictures by a grid.
"""

data_root = "data/OpenLane-V2"
front = "ring_front_center"
sides = (
    "ring_front_left", "ring_front_right", "ring_rear_left", "ring_rear_right", "ring_side_left", "ring_side_right",
)
cameras = (front, *sides)

load_pictures = [
    dict(type="LoadImages"),
    dict(type="CropImages", rows=(356, 1906), names=(front,)),       # 2048 rows of 1550 pixels, upright
    dict(type="ResizeImages", size=(775, 775), names=(front,), move_centers=False),
    dict(type="ResizeImages", size=(775, 1024), names=sides, move_centers=False),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="OpenLaneV2Dataset", root=data_root, split="train", cameras=cameras, transforms=load_pictures,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="OpenLaneV2Dataset", root=data_root, split="val", cameras=cameras, transforms=load_pictures,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="OpenLaneV2Metric", crossings="edges")
test_evaluator = val_evaluator
