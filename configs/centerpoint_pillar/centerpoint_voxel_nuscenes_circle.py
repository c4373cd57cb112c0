"""CenterPoint with 0.075 m voxels on nuScenes and suppression by distance; published: 56.5 mAP / 65.2 NDS."""

_base_ = ["centerpoint_voxel_nuscenes.py"]

model = dict(
    head=dict(
        nms=dict(_delete_=True, type="CircleNMS", squared_radius=(4, 12, 10, 1, 0.85, 0.175), post_max=83),
    ),
)
