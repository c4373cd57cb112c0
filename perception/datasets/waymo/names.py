"""What the numbers in Waymo's messages stand for; lists are indexed by the number."""

from __future__ import annotations

from collections.abc import Sequence

CAMERAS = (
    "UNKNOWN", "FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT", "REAR_LEFT", "REAR", "REAR_RIGHT",
)
LASERS = ("UNKNOWN", "TOP", "FRONT", "SIDE_LEFT", "SIDE_RIGHT", "REAR")
OBJECT_TYPES = ("unknown", "vehicle", "pedestrian", "sign", "cyclist")
SHUTTER_DIRECTIONS = ("unknown", "top_to_bottom", "left_to_right", "bottom_to_top", "right_to_left", "global")
LANE_TYPES = ("undefined", "freeway", "surface_street", "bike_lane")
ROAD_LINE_TYPES = (
    "unknown", "broken_single_white", "solid_single_white", "solid_double_white", "broken_single_yellow",
    "broken_double_yellow", "solid_single_yellow", "solid_double_yellow", "passing_double_yellow",
)
ROAD_EDGE_TYPES = ("unknown", "boundary", "median")
TRACK_TYPES = ("unset", "vehicle", "pedestrian", "cyclist", "other")
LIDAR_CLASSES = (
    "undefined", "car", "truck", "bus", "other_vehicle", "motorcyclist", "bicyclist", "pedestrian", "sign",
    "traffic_light", "pole", "cone", "bicycle", "motorcycle", "building", "vegetation", "tree_trunk", "curb", "road",
    "lane_marker", "other_ground", "walkable", "sidewalk",
)


def name_of(number: int, names: Sequence[str]) -> str:
    """The name of a number; of one that has none, the number in words: ``number 9``."""
    return names[number] if 0 <= number < len(names) else f"number {number}"
