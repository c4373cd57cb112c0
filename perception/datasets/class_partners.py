"""Lists of classes by name, and which class of one list stands for a class of another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import ConfigError, suggestion
from . import cityscapes_labels, nuscenes_point_labels
from .nuscenes_pictures import PICTURE_CLASSES

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their labels.

    Args:
        classes: their names.
        things: names of those with instances.
    """

    classes: tuple[str, ...]
    things: tuple[str, ...] = ()


# Waymo Open Dataset, camera segmentation: class n of the masks is the n-th; 0 is what nobody could name.
WAYMO_LABELS = (
    "undefined", "ego_vehicle", "car", "truck", "bus", "other_large_vehicle", "bicycle", "motorcycle", "trailer",
    "pedestrian", "cyclist", "motorcyclist", "bird", "ground_animal", "cone_or_pole", "pole", "pedestrian_object",
    "sign", "traffic_light", "building", "road", "lane_marker", "road_marker", "sidewalk", "vegetation", "sky",
    "ground", "dynamic", "static",
)
CLASS_LISTS = {
    "cityscapes": ClassList(cityscapes_labels.CLASSES, cityscapes_labels.THINGS),
    "nuscenes": ClassList(PICTURE_CLASSES, nuscenes_point_labels.THINGS),    # of its points, and the sky
    "waymo": ClassList(WAYMO_LABELS[1:], WAYMO_LABELS[2:14]),
}
# By the two lists, the class of the second that each of the first stands for. Classes that are not named have no
# partner, since the other list has none or several for them, and their pixels are to be ignored:
# - an ego vehicle, animals, trains, what pedestrians carry, and Waymo's "other", "dynamic" and "static";
# - Waymo's cyclists and motorcyclists among Cityscapes' classes, which tell the rider from the vehicle, as against
#   nuScenes, where the rider belongs to it; hence Cityscapes' riders, of either vehicle, among those of nuScenes;
# - Waymo's "ground", which may be walked on, driven on or neither.
PARTNERS: dict[tuple[str, str], dict[str, str]] = {
    ("waymo", "nuscenes"): {
        "car": "car", "truck": "truck", "bus": "bus", "bicycle": "bicycle", "motorcycle": "motorcycle",
        "trailer": "trailer", "pedestrian": "pedestrian", "cyclist": "bicycle", "motorcyclist": "motorcycle",
        "cone_or_pole": "traffic_cone", "pole": "manmade", "sign": "manmade", "traffic_light": "manmade",
        "building": "manmade", "road": "driveable_surface", "lane_marker": "driveable_surface",
        "road_marker": "driveable_surface", "sidewalk": "sidewalk", "vegetation": "vegetation", "sky": "sky",
    },
    ("waymo", "cityscapes"): {
        "car": "car", "truck": "truck", "bus": "bus", "bicycle": "bicycle", "motorcycle": "motorcycle",
        "pedestrian": "person", "pole": "pole", "sign": "traffic sign", "traffic_light": "traffic light",
        "building": "building", "road": "road", "lane_marker": "road", "road_marker": "road",
        "sidewalk": "sidewalk", "vegetation": "vegetation", "sky": "sky",
    },
    ("cityscapes", "nuscenes"): {
        "road": "driveable_surface", "sidewalk": "sidewalk", "building": "manmade", "wall": "manmade",
        "fence": "manmade", "pole": "manmade", "traffic light": "manmade", "traffic sign": "manmade",
        "vegetation": "vegetation", "terrain": "terrain", "sky": "sky", "person": "pedestrian", "car": "car",
        "truck": "truck", "bus": "bus", "motorcycle": "motorcycle", "bicycle": "bicycle",
    },
}


def class_list(name: str) -> ClassList:
    """The list of that name. Raises ConfigError that suggests the nearest name."""
    if name not in CLASS_LISTS:
        known = ", ".join(CLASS_LISTS)
        raise ConfigError(f'unknown list of classes "{name}"{suggestion(name, CLASS_LISTS)}; known: {known}')
    return CLASS_LISTS[name]


def translated(names: Mapping[Key, str | None], own: str, other: str) -> dict[Key, str | None]:
    """Names of one list as those of another.

    Args:
        names: class of the list ``own``, or None, by what stands for it in a file.
        own: list of the names.
        other: list of the names that are wanted.

    Returns:
        The class of ``other`` by the same keys, None for a name without partner.

    Raises:
        ConfigError: a list is unknown, or there is no table for the two.
    """
    class_list(own), class_list(other)
    if own == other:
        return dict(names)
    if (own, other) not in PARTNERS:
        known = ", ".join(there for here, there in PARTNERS if here == own) or "none"
        raise ConfigError(f'the classes of "{own}" have no partners in the list "{other}", only in: {known}')
    partners = PARTNERS[own, other]
    return {key: None if name is None else partners.get(name) for key, name in names.items()}
