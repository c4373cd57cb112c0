"""The ten classes of nuScenes' detection, in the order of its tasks."""

class_names = (
    "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle", "pedestrian",
    "traffic_cone",
)
