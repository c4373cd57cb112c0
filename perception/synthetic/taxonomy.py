"""The closed lists of nuScenes: categories with their lidarseg index, attributes and visibility levels."""

from __future__ import annotations

CATEGORIES = (
    "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility", "human.pedestrian.police_officer", "human.pedestrian.stroller",
    "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris",
    "movable_object.pushable_pullable", "movable_object.trafficcone", "static_object.bicycle_rack", "vehicle.bicycle",
    "vehicle.bus.bendy", "vehicle.bus.rigid", "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance",
    "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck", "flat.driveable_surface",
    "flat.other", "flat.sidewalk", "flat.terrain", "static.manmade", "static.other", "static.vegetation", "vehicle.ego",
)
CATEGORY_INDEX = {name: index for index, name in enumerate(CATEGORIES)}

ATTRIBUTES = (
    "cycle.with_rider", "cycle.without_rider", "pedestrian.moving", "pedestrian.standing",
    "pedestrian.sitting_lying_down", "vehicle.moving", "vehicle.parked", "vehicle.stopped",
)

VISIBILITY_LEVELS = ("v0-40", "v40-60", "v60-80", "v80-100")       # tokens "1" to "4"

DETECTION_CLASSES = {
    "car": ("vehicle.car",),
    "truck": ("vehicle.truck",),
    "construction_vehicle": ("vehicle.construction",),
    "bus": ("vehicle.bus.bendy", "vehicle.bus.rigid"),
    "trailer": ("vehicle.trailer",),
    "barrier": ("movable_object.barrier",),
    "motorcycle": ("vehicle.motorcycle",),
    "bicycle": ("vehicle.bicycle",),
    "pedestrian": ("human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
                   "human.pedestrian.police_officer"),
    "traffic_cone": ("movable_object.trafficcone",),
}
CLASS_OF_CATEGORY = {category: name for name, members in DETECTION_CLASSES.items() for category in members}


def visibility_token(fraction: float) -> str:
    """"1" to "4" for a visible share below 0.4, 0.6, 0.8 and up to 1."""
    return str(1 + sum(fraction >= bound for bound in (0.4, 0.6, 0.8)))
