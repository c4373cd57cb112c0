"""CenterPoint with 0.2 m pillars on nuScenes and suppression by distance; published: 48.7 mAP / 59.6 NDS."""

_base_ = ["centerpoint_pillar02_nuscenes.py"]

model = dict(
    head=dict(
        nms=dict(_delete_=True, type="CircleNMS", squared_radius=(4, 12, 10, 1, 0.85, 0.175), post_max=83),
    ),
)
