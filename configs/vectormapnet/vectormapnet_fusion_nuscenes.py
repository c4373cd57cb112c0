"""VectorMapNet from six cameras and ten LiDAR sweeps (45.2 mAP in the paper); follows the released code."""

_base_ = ["vectormapnet_camera_nuscenes.py"]

num_sweeps = 9                                     # earlier ones, so ten in all
both = [
    dict(type="AggregateSweeps", num_sweeps=num_sweeps),
    dict(type="LoadImages"),
    dict(type="ResizeImages", size=(256, 455), move_centers=False),
]

model = dict(
    data_preprocessor=dict(use_points=True, channels=("x", "y", "z", "intensity", "time")),
    bev_encoder=dict(lidar=dict()),
)

train_dataloader = dict(dataset=dict(num_sweeps=num_sweeps, transforms=both))
val_dataloader = dict(dataset=dict(num_sweeps=num_sweeps, transforms=both))
test_dataloader = val_dataloader
