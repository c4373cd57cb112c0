"""VectorMapNet from ten LiDAR sweeps (34.0 mAP in the paper); follows the released code, which has no such config."""

_base_ = ["vectormapnet_camera_nuscenes.py"]

num_sweeps = 9                                     # earlier ones, so ten in all
aggregate = [dict(type="AggregateSweeps", num_sweeps=num_sweeps)]

model = dict(
    data_preprocessor=dict(
        _delete_=True, type="MapDataPreprocessor", channels=("x", "y", "z", "intensity", "time"),
    ),
    bev_encoder=dict(_delete_=True, type="VectorMapNetEncoder", lidar=dict(), region=(-30.0, -15.0, 30.0, 15.0)),
)

train_dataloader = dict(dataset=dict(num_sweeps=num_sweeps, cameras=(), transforms=aggregate))
val_dataloader = dict(dataset=dict(num_sweeps=num_sweeps, cameras=(), transforms=aggregate))
test_dataloader = val_dataloader
