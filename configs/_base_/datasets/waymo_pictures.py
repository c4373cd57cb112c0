"""Waymo's camera pictures with panoptic labels, to score models that learned elsewhere; none learns from them here.

``NAME.jpg`` and ``NAME_panoptic.png`` lie below ``waymo_root``. Of each list of classes those are scored that a class
of Waymo stands for, and of these a mean takes in those that occur.
"""

waymo_root = "data/waymo_pictures"

waymo_dataset = dict(type="WaymoPictures", root=waymo_root, transforms=[dict(type="LoadImages")])
waymo_loader = dict(batch_size=1, num_workers=1, sampler=dict(type="DefaultSampler", shuffle=False))

waymo_as_nuscenes = dict(
    **waymo_loader,
    dataset=dict(
        **waymo_dataset, classes_of="nuscenes",
        classes=(
            "bicycle", "bus", "car", "motorcycle", "pedestrian", "traffic_cone", "trailer", "truck",
            "driveable_surface", "sidewalk", "manmade", "vegetation", "sky",
        ),
    ),
)
waymo_as_cityscapes = dict(
    **waymo_loader,
    dataset=dict(
        **waymo_dataset, classes_of="cityscapes",
        classes=(
            "road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation", "sky", "person",
            "car", "truck", "bus", "motorcycle", "bicycle",
        ),
    ),
)
waymo_semantic = dict(type="SemanticSegmentationMetric")
waymo_panoptic = [dict(type="SemanticSegmentationMetric"), dict(type="PanopticSegmentationMetric")]
