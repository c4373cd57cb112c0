"""nuScenes map construction: loaders, the pictures as the release of VectorMapNet takes them, Chamfer AP.

The map expansion (v1.3) lies under maps/expansion of the root. First list the frames, once a split:
    python tools/create_data.py index nuscenes data/nuscenes --split train    (then val)
"""

data_root = "data/nuscenes"
region = (-30.0, -15.0, 30.0, 15.0)                # x0, y0, x1, y1 [m], ego frame
num_sweeps = 0                                     # earlier ones; models that look at points have more
cameras = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")

transforms = [
    dict(type="LoadImages", names=cameras),
    dict(type="ResizeImages", size=(256, 455), move_centers=False),
]

train_dataloader = dict(
    batch_size=5,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="EpochSampler", class_balanced=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="train", num_sweeps=num_sweeps,
        cameras=cameras, map=dict(region=region), transforms=transforms,
    ),
)
val_dataloader = dict(
    batch_size=5,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="NuScenesDataset", root=data_root, version="v1.0-trainval", split="val", num_sweeps=num_sweeps,
        cameras=cameras, map=dict(region=region), transforms=transforms,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="VectorMapMetric")
test_evaluator = val_evaluator
