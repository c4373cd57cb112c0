"""CenterPoint with 0.1 m voxels on nuScenes and suppression by distance; published: 56.1 mAP / 64.6 NDS."""

_base_ = ["centerpoint_voxel_nuscenes_circle.py"]

point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
voxel_size = (0.1, 0.1, 0.2)
grid = (1024, 1024)

model = dict(
    voxel_encoder=dict(voxel_size=voxel_size, point_range=point_range),
    lidar_backbone=dict(grid=(*grid, 40)),
    head=dict(coder=dict(voxel_size=voxel_size, point_range=point_range)),
)

train_dataloader = dict(dataset=dict(transforms=_base_.train_transforms))     # the data set's, whose range this is
