"""One colour a class, the same in every picture."""

from __future__ import annotations

import colorsys
import zlib

Color = tuple[int, int, int]                     # red, green, blue in 0..255

TRUTH_COLOR: Color = (60, 200, 90)
NAMED = {
    "car": (255, 158, 0), "truck": (255, 99, 71), "construction_vehicle": (233, 150, 70), "bus": (255, 69, 0),
    "trailer": (255, 140, 0), "barrier": (112, 128, 144), "motorcycle": (255, 61, 99), "bicycle": (220, 20, 60),
    "pedestrian": (70, 130, 255), "traffic_cone": (200, 120, 255),
    "ped_crossing": (80, 150, 255), "divider": (255, 165, 0), "boundary": (235, 75, 75),
    "lane_segment": (170, 180, 200),
}
TRUTH_SHADES = {"ped_crossing": (185, 235, 90), "boundary": (40, 215, 180)}
ALIASES = {
    "regular_vehicle": "car", "vehicle": "car", "large_vehicle": "truck", "box_truck": "truck", "cyclist": "bicycle",
    "bicyclist": "bicycle", "motorcyclist": "motorcycle", "construction_cone": "traffic_cone", "person": "pedestrian",
    "road_boundary": "boundary",
}


def class_color(name: str) -> Color:
    """RGB colour of a class; a class without a colour of its own gets one that depends on its name alone."""
    key = name.lower()
    key = ALIASES.get(key, key)
    if key in NAMED:
        return NAMED[key]
    hue = zlib.crc32(key.encode()) % 360 / 360.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def truth_color(name: str) -> Color:
    """Colour of what is true: green, and for map elements a shade of it that tells the class."""
    key = name.lower()
    return TRUTH_SHADES.get(ALIASES.get(key, key), TRUTH_COLOR)
